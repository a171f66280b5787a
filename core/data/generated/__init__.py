"""Datasets that are computed: any number of samples, from a seed."""
