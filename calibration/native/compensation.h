/* Rounding a weight matrix with its errors passed on: what and why, calibration/compensation.py. */

#define COLUMNS 32 /* whose errors reach the columns behind them together */

/* The number of the level nearest to value; halfway: the upper one. */
static long nearest(const double *edges, long count, double value) {
    long first = 0;
    while (count > 0) {
        const long half = count / 2;
        if (value >= edges[first + half]) first += half + 1, count -= half + 1;
        else count = half;
    }
    return first;
}

/* Round one column, row after row; passed[i]: what all errors of the column take from row i. */
static void round_column(long height, long points, const double *column, const double *levels, const double *edges,
                         const double *to_rows, double *passed, unsigned char *codes) {
    memset(passed, 0, sizeof(double) * height);
    for (long i = 0; i < height; i++) {
        const double value = column[i] - passed[i];
        const long code = nearest(edges + i * (points - 1), points - 1, value);
        const double error = value - levels[i * points + code];
        const double *const share = to_rows + i * height;
#pragma omp simd
        for (long other = i; other < height; other++) passed[other] += share[other] * error;
        codes[i] = (unsigned char)code;
    }
}

/* remaining, codes: [width][height], column by column, both in the order of rounding. levels [height][points], ascending,
 * edges [height][points - 1]. to_rows [height][height], to_columns [width][width]: shares, unit upper triangular.
 * memory: [COLUMNS][height]. */
void compensate(long height, long width, long points, double *remaining, const double *levels, const double *edges,
                const double *to_rows, const double *to_columns, double *memory, unsigned char *codes, int threads) {
    for (long first = 0; first < width; first += COLUMNS) {
        const long end = first + COLUMNS < width ? first + COLUMNS : width;
        for (long j = first; j < end; j++) {
            double *const column = remaining + j * height;
            for (long before = first; before < j; before++) {
                const double share = to_columns[before * width + j], *const passed = memory + (before - first) * height;
#pragma omp simd
                for (long i = 0; i < height; i++) column[i] -= share * passed[i];
            }
            round_column(height, points, column, levels, edges, to_rows, memory + (j - first) * height, codes + j * height);
        }
#pragma omp parallel for num_threads(threads)
        for (long behind = end; behind < width; behind++)
            for (long j = first; j < end; j++) {
                double *const column = remaining + behind * height;
                const double share = to_columns[j * width + behind], *const passed = memory + (j - first) * height;
#pragma omp simd
                for (long i = 0; i < height; i++) column[i] -= share * passed[i];
            }
    }
}
