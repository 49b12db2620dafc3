/* Codes moved one at a time to where the error becomes less: what and why, calibration/descent.py. */

/* One sweep over all columns. levels [height][points], ascending, edges [height][points - 1]; rows [height][height] and
 * columns [width][width]: what errors of outputs and inputs weigh; along: errors times columns, [height][width], kept up.
 * memory: [2][height]. Returns how many codes have moved. */
long descend(long height, long width, long points, const double *levels, const double *edges, const double *rows,
             const double *columns, double *along, double *memory, unsigned char *codes, double least) {
    double *const here = memory, *const slope = memory + height;
    long moved = 0;
    for (long j = 0; j < width; j++) {
        const double *const column = columns + j * width;
        for (long i = 0; i < height; i++) here[i] = along[i * width + j];
        for (long i = 0; i < height; i++) {
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (long other = 0; other < height; other++) sum += rows[i * height + other] * here[other];
            slope[i] = sum;
        }
        for (long i = 0; i < height; i++) {
            const double *const row = rows + i * height, curve = row[i] * column[j];
            const double now = levels[i * points + codes[i * width + j]];
            const long code = nearest(edges + i * (points - 1), points - 1, now + slope[i] / curve);
            const double step = levels[i * points + code] - now;
            if (!(step * (2 * slope[i] - step * curve) > least * curve * step * step)) continue;
            codes[i * width + j] = (unsigned char)code;
            moved++;
#pragma omp simd
            for (long other = 0; other < width; other++) along[i * width + other] -= step * column[other];
            for (long other = i; other < height; other++) slope[other] -= step * column[j] * row[other];
        }
    }
    return moved;
}
