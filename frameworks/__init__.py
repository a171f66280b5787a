"""The training frameworks that come with dlcompare: one folder each, registered through the hooks any plugin uses."""
