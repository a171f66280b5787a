/* STREAM's triad (McCalpin 1995): two arrays are read and one is written, counted as three times 8 bytes an element. */
#include <stddef.h>
#ifdef _OPENMP
#include <omp.h>
#endif

void triad(double *restrict a, const double *restrict b, const double *restrict c, double s, size_t n, int threads,
           long repeats)
{
    for (long r = 0; r < repeats; r++) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (size_t i = 0; i < n; i++)
            a[i] = b[i] + s * c[i];
    }
}

/* Each page lies in the memory of the processor that first writes to it. */
void first_touch(double *restrict a, double value, size_t n, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t i = 0; i < n; i++)
        a[i] = value;
}
