/* Every value to its nearest point. */
#define ROWS 8 /* wide pixels that are rounded together */

/* Values in bins from the middle, rounded by the table; first: indices of the channels' middle bins. */
static inline Floats look_up(const Quantizer *q, Floats normalized, Ints first) {
    const Floats lowest = (Floats){0} - (float)(q->bins / 2), highest = -lowest - 1;
    const Floats above = choose(normalized > lowest, normalized, lowest);
    const Floats within = choose(above < highest, above, highest);
    const Ints toward_zero = __builtin_convertvector(within, Ints);
    const Ints index = first + toward_zero + (within < __builtin_convertvector(toward_zero, Floats)); /* true is -1 */
    const int *const at = (const int *)&index;
    float result[LANES];
#pragma omp simd
    for (int l = 0; l < LANES; l++) result[l] = q->table[at[l]];
    return load(result, 0);
}

/* LANES values of each row: those of channel c and its neighbours, or all of the same channel. */
static inline void round_lanes(const Quantizer *q, const Wide *w, long c, int same, int rows, long stride,
                               const float *x, float *out) {
    const Floats shift = load(w->shift + c, same), spread = load(w->spread + c, same);
    const float half = (float)(q->bins / 2);
    Floats normalized[ROWS], result[ROWS];
    for (int r = 0; r < rows; r++) normalized[r] = (*(const Floats *)(x + r * stride) - shift) / spread * half;
    if (q->edges) {
        for (int r = 0; r < rows; r++) result[r] = load(w->levels + c, same);
        for (long i = 1; i < q->points; i++) {
            const Floats edge = load(w->edges + (i - 1) * w->width + c, same);
            const Floats level = load(w->levels + i * w->width + c, same);
            for (int r = 0; r < rows; r++) result[r] = choose(normalized[r] >= edge, level, result[r]);
        }
    } else {
        Ints first;
        for (int l = 0; l < LANES; l++) first[l] = (c + (same ? 0 : l)) % q->channels * q->bins + q->bins / 2;
        for (int r = 0; r < rows; r++) result[r] = look_up(q, normalized[r], first) * spread + shift;
    }
    for (int r = 0; r < rows; r++) *(Floats *)(out + r * stride) = result[r];
}

static void round_rows(const Quantizer *q, const Wide *w, int rows, const float *x, float *out) {
    for (long c = 0; c < w->width; c += LANES) {
        const long from = c + LANES <= w->width ? c : w->width - LANES; /* the last values, some of them once more */
        if (rows == ROWS)
            round_lanes(q, w, from, 0, ROWS, w->width, x + from, out + from);
        else
            round_lanes(q, w, from, 0, 1, w->width, x + from, out + from);
    }
}

static void round_nearest(const Quantizer *q, const Wide *w, long n, const float *x, float *out) {
    const long rows = n / fold(q), last = (n - fold(q)) * q->channels;
    for (long row = 0, step = ROWS; row < rows; row += step) {
        if (row + step > rows) step = 1;
        round_rows(q, w, step, x + row * w->width, out + row * w->width);
    }
    round_rows(q, w, 1, x + last, out + last); /* pixels that do not fill a wide one, with some before them */
}
