/* Every value to a point such that errors cancel in what comes after: error_feedback.py. */
#define PARTS 4 /* of LANES pixels each, which are rounded together */
#define PIXELS (PARTS * LANES)
#define GROUP 4 /* channels that are corrected together */

/* Takes from values of channels first… in order what is their share of the errors of channels from…to - 1. */
static inline void correct(const Quantizer *q, int channels, long first, long from, long to, const Floats *errors,
                           Floats values[][PARTS]) {
    const float *const shares = q->shares + first * q->channels;
    for (long j = from; j < to; j++)
        for (int c = 0; c < channels; c++)
            for (int k = 0; k < PARTS; k++)
                values[c][k] = multiply_add(-shares[c * q->channels + j], errors[j * PARTS + k], values[c][k]);
}

/* Channels first… in order; values [channels][PIXELS], errors [channels][PARTS] in order. */
static inline void round_group(const Quantizer *q, const Wide *w, int channels, long first, float *values,
                               Floats *errors) {
    Floats corrected[GROUP][PARTS];
    for (int c = 0; c < channels; c++)
        for (int k = 0; k < PARTS; k++) corrected[c][k] = load(values + q->order[first + c] * PIXELS + k * LANES, 0);
    correct(q, channels, first, 0, first, errors, corrected);
    for (int c = 0; c < channels; c++) {
        float *const result = values + q->order[first + c] * PIXELS;
        Floats *const error = errors + (first + c) * PARTS;
        correct(q, 1, first + c, first, first + c, errors, corrected + c);
        round_lanes(q, w, q->order[first + c], 1, PARTS, LANES, (const float *)corrected[c], result);
        for (int k = 0; k < PARTS; k++) error[k] = corrected[c][k] - load(result + k * LANES, 0);
    }
}

/* PIXELS pixels, with error feedback. */
static void round_in_order(const Quantizer *q, const Wide *w, const float *x, float *out, float *memory) {
    float *const values = memory + PIXELS * q->channels;
    long i = 0;
    transpose(PIXELS, q->channels, x, values);
    for (; i + GROUP <= q->channels; i += GROUP) round_group(q, w, GROUP, i, values, (Floats *)memory);
    for (; i < q->channels; i++) round_group(q, w, 1, i, values, (Floats *)memory);
    transpose(q->channels, PIXELS, values, out);
}
