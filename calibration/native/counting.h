/* Histograms of a map whose blocks are normalized one by one: what and why, calibration/observer.py. */

#define CHANNELS 64 /* whose bins are found together */

typedef struct {
    long channels, height, width, side, down, across;
    const float *x; /* [height][width][channels] */
} Map;

/* The channels of a pixel of a block; beyond the map, of its last row and column. */
static const float *pixel(const Map *m, long block, long row, long column) {
    const long y = block / m->across * m->side + row, x = block % m->across * m->side + column;
    return m->x + ((y < m->height ? y : m->height - 1) * m->width + (x < m->width ? x : m->width - 1)) * m->channels;
}

/* Shift and spread of channels first...end - 1 of a block, as by window_statistics of dfsq.quantizers.normalization. */
static void statistics_of(const Map *m, long block, long first, long end, int is_signed, float epsilon, float *shift,
                          float *spread) {
    const long width = end - first, count = m->side * m->side;
    double sum[CHANNELS] = {0};
    float highest[CHANNELS], lowest[CHANNELS];
    for (long c = 0; c < width; c++) highest[c] = -INFINITY, lowest[c] = INFINITY;
    for (long i = 0; i < count; i++) {
        const float *const x = pixel(m, block, i / m->side, i % m->side) + first;
#pragma omp simd
        for (long c = 0; c < width; c++) {
            highest[c] = x[c] > highest[c] ? x[c] : highest[c];
            lowest[c] = x[c] < lowest[c] ? x[c] : lowest[c];
        }
#pragma omp simd
        for (long c = 0; c < width; c++) sum[c] += x[c];
    }
    for (long c = 0; c < width; c++) {
        const float mean = is_signed ? (float)(sum[c] / count) : 0;
        const float above = highest[c] - mean, below = mean - lowest[c];
        shift[c] = mean, spread[c] = (above > below ? above : below) + epsilon;
        if (isnan(sum[c])) spread[c] = NAN; /* comparisons have lost it */
    }
}

/* Add a block's values to the counts; weights: what one counts, by channel. */
static void count_block(const Map *m, long block, long first, long end, long bins, const float *shift,
                        const float *spread, const long *weights, long *counts) {
    const long width = end - first;
    const float half = (float)(bins / 2);
    for (long i = 0; i < m->side * m->side; i++) {
        const float *const x = pixel(m, block, i / m->side, i % m->side) + first;
        int bin[CHANNELS];
#pragma omp simd
        for (long c = 0; c < width; c++) {
            const float scaled = floorf((x[c] - shift[c]) / spread[c] * half);
            const float low = scaled >= -half ? scaled : -half; /* nor is what is no number */
            bin[c] = (int)(low < half - 1 ? low : half - 1) + (int)half;
        }
        for (long c = 0; c < width; c++) counts[bin[c] * m->channels + first + c] += weights[c];
    }
}

/* x [height][width][channels]. counts [bins][channels] are added to; largest [channels]: the largest spread of a block.
 * shares: parts of it in which spreads are told apart. memory: [2][blocks][channels] floats. */
void count_blocks(long channels, long height, long width, long side, long bins, int is_signed, float epsilon, float shares,
                  const float *x, long *counts, float *largest, float *memory, int threads) {
    const Map m = {channels, height, width, side, (height + side - 1) / side, (width + side - 1) / side, x};
    const long blocks = m.down * m.across;
    float *const shifts = memory, *const spreads = memory + blocks * channels;
    const long parts = (channels + CHANNELS - 1) / CHANNELS > threads ? (channels + CHANNELS - 1) / CHANNELS : threads;
#pragma omp parallel for num_threads(threads)
    for (long part = 0; part < parts; part++) { /* each has channels of its own */
        const long first = channels * part / parts, end = channels * (part + 1) / parts;
        long weights[CHANNELS];
        for (long c = first; c < end; c++) largest[c] = -INFINITY;
        for (long block = 0; block < blocks; block++) {
            float *const spread = spreads + block * channels;
            statistics_of(&m, block, first, end, is_signed, epsilon, shifts + block * channels + first, spread + first);
            for (long c = first; c < end; c++)
                if (!(spread[c] <= largest[c])) largest[c] = spread[c]; /* what is no number stays */
        }
        for (long block = 0; block < blocks; block++) {
            const float *const spread = spreads + block * channels;
            for (long c = first; c < end; c++) {
                const float share = ceilf(spread[c] / largest[c] * shares);
                weights[c - first] = share > 0 ? (long)share * (long)share : 0;
            }
            count_block(&m, block, first, end, bins, shifts + block * channels + first, spread + first, weights, counts);
        }
    }
}
