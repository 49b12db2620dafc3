/* Paths over the universal set: what and why, calibration/selection/exact.py. */

/* candidates: [n], ascending numerators. gains: [channels][edges], by bin edge, that in the middle at (edges - 1) / 2.
 * saved: [k][channels][n], the most that paths of 1...k points to each candidate save. unit: of numerators.
 * memory: [threads][n]. */
void save(long channels, long n, long k, long edges, const long *candidates, const double *gains, double unit,
          double *saved, double *memory, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++)
        for (long c = channels * t / threads; c < channels * (t + 1) / threads; c++) {
            const double *const gain = gains + c * edges + (edges - 1) / 2;
            double *const edge = memory + t * n;
            for (long length = 0; length < k; length++)
                for (long v = 0; v < n; v++) saved[(length * channels + c) * n + v] = length ? -INFINITY : 0;
            for (long u = 0; u < n; u++) { /* paths to it are complete: those before it have been here */
                for (long v = u + 1; v < n; v++)
                    edge[v] = gain[candidates[u] + candidates[v]] * (unit * (double)(candidates[v] - candidates[u]));
                for (long length = 1; length < k; length++) {
                    const double shorter = saved[((length - 1) * channels + c) * n + u];
                    double *const longer = saved + (length * channels + c) * n;
#pragma omp simd
                    for (long v = u + 1; v < n; v++) {
                        const double sum = edge[v] + shorter;
                        longer[v] = sum > longer[v] ? sum : longer[v];
                    }
                }
            }
        }
}
