/* Sums over pixels that most losses are made of, and the gradient of the logits: see compiled.py.
 *
 * One call looks at a whole batch. Its images are cut into jobs, which threads take one after the other, a job into
 * chunks, whose labels are read first. Then W pixels at a time are looked at, all classes of them, so that what is
 * computed stays in the first level of cache. Sums of a chunk are float, everything above is double, and every job has
 * a place of its own for them: the result does not depend on how many threads there were.
 */
#include <float.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <pthread.h>
#endif

#define VERSION 2

#if defined(__x86_64__) || defined(_M_X64)
enum { W = 8 };                                     /* pixels of a vector: as AVX2 has them; wider ones gain nothing */
#else
enum { W = 4 };
#endif
enum { CHUNK = 256, THREADS = 64 };                /* pixels of a chunk at most, few, as its sums are float; threads at most */
enum { N, T, P, I, PP, PT, TT, CURVES };            /* rows of the sums and of their slopes; curves are the last.
                                                     * PT, TT: of soft targets, else they are I and T */
enum { BAD_TARGET = 1, BAD_WEIGHT = 2, NO_MEMORY = 4 };
enum { U8, I8, I16, I32, I64, F32 };                /* what a target is of; F32: soft, for sigmoid tasks */

/* (log * log p + one) * (1 - p)^gamma of the true class, times a number of that class (table: one for each class, for
 * sigmoid tasks two for each channel, absent and present; NULL: 1). */
typedef struct {
    float log, one, gamma;
    const float *table;
} Curve;

/* An array (images, channels, pixels) and its steps in elements; pixel: 1 but for scores and gradient. */
typedef struct {
    void *data;
    int64_t image, channel, pixel;
} Array;

typedef struct {
    int64_t images, channels, pixels, job;          /* job: pixels of one */
    Array scores, target, weight, gradient;         /* weight.data may be NULL; gradient: written by the way back */
    int64_t ignored;
    int32_t ignores, sigmoid, bfloat16, kind, counts, region, squares, curves, threads;
    const Curve *curve;
    double *sums;                                   /* (images, jobs of an image, CURVES + curves, channels) */
    const float *slopes;                            /* (images, CURVES + curves, channels) */
} Batch;

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint16_t vh __attribute__((vector_size(2 * W)));

#define INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define FOR_THIS_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif defined(__x86_64__)
#define FOR_THIS_PROCESSOR __attribute__((target("avx2,fma")))
#else
#define FOR_THIS_PROCESSOR
#endif

INLINE vf splat(float x) { return x - (vf){0}; }
INLINE vi splat_int(int32_t x) { return x - (vi){0}; }
INLINE vf load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE vi load_int(const int32_t *p) { vi v; memcpy(&v, p, sizeof v); return v; }
INLINE void store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf keep(vi mask, vf v) { return (vf)(mask & (vi)v); }
INLINE vf choose(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }

/* e^x for x <= 87, 0 below -87; relative error below 2e-7. A NaN stays one. */
INLINE vf exponential(vf x)
{
    vf shifted = x * 1.44269504088896341f + 12582912.0f;      /* the integer is in the low bits */
    vi power = ((vi)shifted - 0x4B400000 + 127) << 23;
    vf n = shifted - 12582912.0f;
    vf r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vf y = splat(1.9875691500e-4f);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    return choose(x < -87.0f, splat(0), y * (vf)power);
}

/* log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2). A NaN stays one. */
INLINE vf logarithm_near_one(vf f)
{
    vf s = f / (2.0f + f), z = s * s, w = z * z, half = 0.5f * f * f;
    vf R = w * (0.40000972152f + w * 0.24279078841f) + z * (0.66666662693f + w * 0.28498786688f);
    return f - (half - s * (half + R));
}

/* x = 2^k (1 + f) for finite normal x > 0, 1 + f as above; k and f. */
INLINE vf split(vf x, vf *f)
{
    vi exponent = ((vi)x - 0x3f3504f3) >> 23;
    *f = (vf)((vi)x - (exponent << 23)) - 1.0f + (x - x);
    return __builtin_convertvector(exponent, vf);
}

/* log x for finite normal x > 0; relative error below 2e-7. A NaN stays one. */
INLINE vf logarithm(vf x)
{
    vf f, k = split(x, &f);
    return logarithm_near_one(f) + k * 0.69314718056f;
}

/* 1 / (1 + x) for 0 <= x <= 1, and log(1 + x) = 2 artanh(x / (2 + x)), by one division. */
INLINE vf inverse_of_one_and(vf x, vf *log)
{
    vf one = 1.0f + x, two = 2.0f + x, inverse = 1.0f / (one * two);
    vf s = x * one * inverse, z = s * s;
    vf y = splat(2.0f / 15);
    y = y * z + 2.0f / 13;
    y = y * z + 2.0f / 11;
    y = y * z + 2.0f / 9;
    y = y * z + 2.0f / 7;
    y = y * z + 2.0f / 5;
    y = y * z + 2.0f / 3;
    *log = s * (2.0f + y * z);
    return two * inverse;
}

/* x^gamma for 0 <= x <= 1 and gamma >= -1; x is never taken for less than `least`. */
INLINE vf power(vf x, float gamma, float least)
{
    if (gamma == 0) return splat(1);
    if (gamma == 1) return x;
    if (gamma == 2) return x * x;
    x = choose(x < least, splat(least), x);
    return choose(x < FLT_MIN, splat(0), exponential(logarithm(x) * gamma));
}

/* What is known of the truth of a chunk's pixels: log p, p and 1 - p. */
typedef struct {
    vf log, p, rest;
} Truth;

static const float LEAST = 1e-16f;                  /* POWER_FLOOR of core/stable.py, for a finite slope at 1 - p = 0 */

INLINE vf value_of(const Curve *curve, Truth t)
{
    float gamma = curve->gamma;
    return (curve->log * t.log + curve->one) * power(t.rest, gamma, gamma < 2 ? LEAST : 0);
}

/* The derivative of `value_of` by log p. */
INLINE vf slope_of(const Curve *curve, Truth t)
{
    float gamma = curve->gamma;
    if (gamma == 0) return splat(curve->log);
    vf slope = power(t.rest, gamma - 1, gamma < 2 ? LEAST : 0);
    if (gamma < 2 && gamma != 1) slope = choose(t.rest > LEAST, slope, splat(0));
    return slope * (curve->log * t.rest - gamma * t.p * (curve->log * t.log + curve->one));
}

/* A thread's memory. part, whole: sums of a chunk and of a job, (CURVES + curves, channels, W). */
typedef struct {
    int32_t label[CHUNK];
    float soft[CHUNK];                              /* a soft target, in place of labels */
    float count[CHUNK];                             /* how often a pixel counts, where that is not once */
    float *exps, *part;                             /* exps: (channels, W) */
    double *whole;
    int flaws;
} Room;

/* room->label, as if every pixel counted; whether there is a value that is no label. */
#define READ(TYPE)                                                                                        \
    for (int i = 0; i < n; i++) {                                                                         \
        int64_t value = ((const TYPE *)batch->target.data)[at + i];                                       \
        wrong |= (uint64_t)value > (uint64_t)last;                                                        \
        room->label[i] = (int32_t)value;                                                                  \
    }                                                                                                     \
    break

/* The same where pixels are ignored or count `room->count` times: those that do not count have label 0. */
#define READ_COUNTED(TYPE)                                                                                \
    for (int i = 0; i < n; i++) {                                                                         \
        int64_t value = ((const TYPE *)batch->target.data)[at + i];                                       \
        int64_t counts = (room->count[i] != 0) & !(ignores & (value == ignored));                         \
        wrong |= counts & ((uint64_t)value > (uint64_t)last);                                             \
        room->count[i] = counts ? room->count[i] : 0;                                                     \
        room->label[i] = counts ? (int32_t)value : 0;                                                     \
    }                                                                                                     \
    break

/* The two for probabilities. */
#define READ_SOFT                                                                                         \
    for (int i = 0; i < n; i++) {                                                                         \
        float value = ((const float *)batch->target.data)[at + i];                                        \
        outside |= !((value >= 0) & (value <= 1));                                                        \
        room->soft[i] = value;                                                                            \
    }                                                                                                     \
    break

#define READ_SOFT_COUNTED                                                                                 \
    for (int i = 0; i < n; i++) {                                                                         \
        float value = ((const float *)batch->target.data)[at + i];                                        \
        int counts = (room->count[i] != 0) & !(ignores & (value == (float)ignored));                      \
        outside |= counts & !((value >= 0) & (value <= 1));                                               \
        room->count[i] = counts ? room->count[i] : 0;                                                     \
        room->soft[i] = counts ? value : 0;                                                               \
    }                                                                                                     \
    break

/* The labels of n pixels and, where not every pixel counts once, how often they do. Pixels behind them count 0. */
INLINE void read_target(const Batch *batch, Room *room, int64_t image, int64_t channel, int64_t start, int n, int masked)
{
    int64_t at = image * batch->target.image + channel * batch->target.channel + start;
    int64_t last = batch->sigmoid ? 1 : batch->channels - 1, wrong = 0;
    const int64_t ignored = batch->ignored;
    const int ignores = batch->ignores;
    int outside = 0;
    if (!masked) {
        switch (batch->kind) {
        case U8: READ(uint8_t);
        case I8: READ(int8_t);
        case I16: READ(int16_t);
        case I32: READ(int32_t);
        case F32: READ_SOFT;
        default: READ(int64_t);
        }
    } else {
        const float *weight = batch->weight.data;
        int bad = 0;
        if (weight) weight += image * batch->weight.image + channel * batch->weight.channel + start;
        for (int i = 0; i < n; i++) {
            room->count[i] = weight ? weight[i] : 1;
            bad |= !((room->count[i] >= 0) & (room->count[i] <= FLT_MAX));
        }
        for (int i = n; i % W; i++) room->count[i] = room->soft[i] = 0, room->label[i] = 0;
        if (bad) room->flaws |= BAD_WEIGHT;
        switch (batch->kind) {
        case U8: READ_COUNTED(uint8_t);
        case I8: READ_COUNTED(int8_t);
        case I16: READ_COUNTED(int16_t);
        case I32: READ_COUNTED(int32_t);
        case F32: READ_SOFT_COUNTED;
        default: READ_COUNTED(int64_t);
        }
    }
    if (wrong || outside) room->flaws |= BAD_TARGET;
}

INLINE vf widened(const uint16_t *bfloat16)
{
    vh v;
    memcpy(&v, bfloat16, sizeof v);
    return (vf)(__builtin_convertvector(v, vi) << 16);
}

INLINE vh narrowed(vf x)                            /* to the nearest, ties to even; a NaN stays one */
{
    vi bits = (vi)x, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vi nan = (bits & 0x7fffffff) > 0x7f800000;
    return __builtin_convertvector((nan & 0x7fc0) | (~nan & rounded), vh);
}

/* The scores of W pixels, of which n are there. */
INLINE vf read_scores(const Batch *batch, int64_t at, int n)
{
    const float *z = (const float *)batch->scores.data + at;
    const uint16_t *bits = (const uint16_t *)batch->scores.data + at;
    int64_t step = batch->scores.pixel;
    if (n >= W && step == 1) return batch->bfloat16 ? widened(bits) : load(z);
    float some[W] = {0};
    uint16_t half[W] = {0};
    for (int w = 0; w < n && w < W; w++)
        if (batch->bfloat16)
            half[w] = bits[w * step];
        else
            some[w] = z[w * step];
    return batch->bfloat16 ? widened(half) : load(some);
}

INLINE void write_gradient(const Batch *batch, int64_t at, int n, vf v)
{
    float *out = (float *)batch->gradient.data + at;
    uint16_t *bits = (uint16_t *)batch->gradient.data + at;
    int64_t step = batch->gradient.pixel;
    vh half = narrowed(v);
    if (n >= W && step == 1) {
        if (batch->bfloat16)
            memcpy(bits, &half, sizeof half);
        else
            store(out, v);
        return;
    }
    for (int w = 0; w < n && w < W; w++)
        if (batch->bfloat16)
            bits[w * step] = half[w];
        else
            out[w * step] = v[w];
}

INLINE void add(Room *room, const Batch *batch, int row, int64_t channel, vf v)
{
    float *part = room->part + (row * batch->channels + channel) * W;
    store(part, load(part) + v);
}

/* The numbers of a curve for W pixels. */
INLINE vf factor_of(const Curve *curve, vi label, int64_t channel, int sigmoid)
{
    if (!curve->table) return splat(1);
    if (sigmoid) return choose(label == 1, splat(curve->table[2 * channel + 1]), splat(curve->table[2 * channel]));
    vf factor;
    for (int w = 0; w < W; w++) factor[w] = curve->table[label[w]];
    return factor;
}

INLINE void add_curves(Room *room, const Batch *batch, int64_t channel, vi label, Truth truth, vf count, int sigmoid)
{
    for (int k = 0; k < batch->curves; k++) {
        const Curve *curve = batch->curve + k;
        vf value = value_of(curve, truth) * factor_of(curve, label, channel, sigmoid);
        add(room, batch, CURVES + k, channel, choose(count > 0, value * count, splat(0)));
    }
}

/* The gradient of log p, from the slopes of the curves' sums. */
INLINE vf curves_slope(const Batch *batch, const float *slopes, int64_t channel, vi label, Truth truth, vf count, int sigmoid)
{
    vf sum = splat(0);
    for (int k = 0; k < batch->curves; k++) {
        const Curve *curve = batch->curve + k;
        float slope = slopes[(CURVES + k) * batch->channels + channel];
        sum += slope * slope_of(curve, truth) * factor_of(curve, label, channel, sigmoid);
    }
    return choose(count > 0, sum * count, splat(0));
}

/* e^(z - max z) of W pixels into room->exps; 1 / its sum over the classes, and what is known of the truth. */
INLINE vf softmax(const Batch *batch, Room *room, int64_t at, int left, vi label, vi there, Truth *truth, int masked)
{
    int64_t K = batch->channels, step = batch->scores.channel;
    vf top = read_scores(batch, at, left);
    if (masked) top = keep(there, top);
    for (int64_t c = 1; c < K; c++) {
        vf z = read_scores(batch, at + c * step, left);
        if (masked) z = keep(there, z);
        top = choose(top > z, top, z);              /* a NaN may get lost here; its own exponential is one again */
    }
    vf sum = splat(0), own = splat(0), others = splat(0), exp_own = splat(0);
    for (int64_t c = 0; c < K; c++) {
        vf z = read_scores(batch, at + c * step, left);
        if (masked) z = keep(there, z);
        vf e = exponential(z - top);
        vi hit = label == (int32_t)c;
        store(room->exps + c * W, e);
        sum += e;
        if (batch->curves) {
            own = choose(hit, z, own);
            exp_own += keep(hit, e);
            others += keep(~hit, e);                /* 1 - p without cancellation */
        }
    }
    vf inverse = 1.0f / sum;
    if (batch->curves) {
        vf f, k = split(sum, &f), rest = others * inverse;
        vi near = rest < 0.25f;                     /* log p = log(1 - rest), which keeps its digits */
        vf log = logarithm_near_one(choose(near, -rest, f));
        *truth = (Truth){choose(near, log, own - top - (log + k * 0.69314718056f)), exp_own * inverse, rest};
    }
    return inverse;
}

INLINE void softmax_sums(const Batch *batch, Room *room, int64_t image, int64_t start, int n, int masked)
{
    int64_t K = batch->channels, at = image * batch->scores.image + start * batch->scores.pixel;
    for (int i = 0; i < n; i += W) {
        vi label = load_int(room->label + i);
        vf count = masked ? load(room->count + i) : splat(1);
        Truth truth;
        vf inverse = softmax(batch, room, at + i * batch->scores.pixel, masked ? n - i : W, label, count > 0, &truth, masked);
        if (batch->curves) add_curves(room, batch, 0, label, truth, count, 0);
        if (!batch->counts) continue;
        for (int64_t c = 0; c < K; c++) {
            vi hit = label == (int32_t)c;
            add(room, batch, T, c, keep(hit, count));
            if (!batch->region) continue;
            vf p = load(room->exps + c * W) * inverse, counted = masked ? p * count : p;
            add(room, batch, P, c, counted);
            add(room, batch, I, c, keep(hit, counted));
            if (batch->squares) add(room, batch, PP, c, p * counted);
        }
    }
}

/* dz = w p (g - sum_c p_c g_c) + (t - p) u, g the gradient of p, u that of log p_t. */
INLINE void softmax_gradient(const Batch *batch, Room *room, int64_t image, int64_t start, int n, int masked)
{
    int64_t K = batch->channels, at = image * batch->scores.image + start * batch->scores.pixel;
    const float *slopes = batch->slopes + image * (CURVES + batch->curves) * K;
    const float *dP = slopes + P * K, *dI = slopes + I * K, *dPP = slopes + PP * K;
    for (int i = 0; i < n; i += W) {
        vi label = load_int(room->label + i);
        vf count = masked ? load(room->count + i) : splat(1), mean = splat(0), squares = splat(0), u = splat(0);
        int left = masked ? n - i : W;
        Truth truth;
        vf inverse = softmax(batch, room, at + i * batch->scores.pixel, left, label, count > 0, &truth, masked);
        if (batch->curves) u = curves_slope(batch, slopes, 0, label, truth, count, 0);
        if (batch->region)
            for (int64_t c = 0; c < K; c++) {
                vf e = load(room->exps + c * W);
                mean += e * (dP[c] + keep(label == (int32_t)c, splat(dI[c])));
                if (batch->squares) squares += e * e * dPP[c];
            }
        mean = mean * inverse + 2 * squares * inverse * inverse;
        int64_t out = image * batch->gradient.image + (start + i) * batch->gradient.pixel;
        for (int64_t c = 0; c < K; c++) {
            vi hit = label == (int32_t)c;
            vf p = load(room->exps + c * W) * inverse, g = splat(0) - mean;
            if (batch->region) g += dP[c] + keep(hit, splat(dI[c]));
            if (batch->squares) g += 2 * p * dPP[c];
            if (masked) g = g * count;
            write_gradient(batch, out + c * batch->gradient.channel, left, p * (g - u) + keep(hit, u));
        }
    }
}

/* The sigmoid of W numbers: the probabilities of the likelier and of the other side, |z| and log(1 + e^-|z|). */
typedef struct {
    vf near, far, size, log;
} Odds;

INLINE Odds sigmoid(vf z, int with_log)
{
    Odds odds = {.size = choose(z < 0, -z, z), .log = splat(0)};
    vf e = exponential(-odds.size);
    odds.near = with_log ? inverse_of_one_and(e, &odds.log) : 1.0f / (1.0f + e);
    odds.far = e * odds.near;
    return odds;
}

/* What is known of a side. likelier: whether it is that one. */
INLINE Truth side(Odds odds, vi likelier)
{
    return (Truth){
        choose(likelier, splat(0), -odds.size) - odds.log,
        choose(likelier, odds.near, odds.far),
        choose(likelier, odds.far, odds.near),
    };
}

INLINE void sigmoid_sums(const Batch *batch, Room *room, int64_t image, int64_t channel, int64_t start, int n, int masked)
{
    int64_t at = image * batch->scores.image + channel * batch->scores.channel + start * batch->scores.pixel;
    int soft = batch->kind == F32;
    for (int i = 0; i < n; i += W) {
        vi label = load_int(room->label + i), hit = label == 1;
        vf count = masked ? load(room->count + i) : splat(1);
        vf t = soft ? load(room->soft + i) : keep(hit, splat(1));
        vf z = read_scores(batch, at + i * batch->scores.pixel, masked ? n - i : W);
        if (masked) z = keep(count > 0, z);
        Odds odds = sigmoid(z, batch->curves);
        vf p = choose(z >= 0, odds.near, odds.far), counted = p * count;
        if (soft && batch->curves) {
            add_curves(room, batch, channel, splat_int(1), side(odds, z >= 0), count * t, 1);
            add_curves(room, batch, channel, splat_int(0), side(odds, z < 0), count * (1 - t), 1);
        } else if (batch->curves)
            add_curves(room, batch, channel, label, side(odds, (z >= 0) == hit), count, 1);
        add(room, batch, T, channel, t * count);
        if (masked) add(room, batch, N, channel, count);
        if (!batch->region) continue;
        add(room, batch, P, channel, counted);
        add(room, batch, I, channel, soft ? choose(p < t, counted, t * count) : keep(hit, counted));
        if (batch->squares) add(room, batch, PP, channel, p * counted);
        if (!soft) continue;
        add(room, batch, PT, channel, counted * t);
        add(room, batch, TT, channel, t * t * count);
    }
}

/* dz = w p (1 - p) g + (t - p) u. */
INLINE void sigmoid_gradient(const Batch *batch, Room *room, int64_t image, int64_t channel, int64_t start, int n, int masked)
{
    int64_t K = batch->channels;
    const float *slopes = batch->slopes + image * (CURVES + batch->curves) * K;
    float dP = slopes[P * K + channel], dI = slopes[I * K + channel], dPP = slopes[PP * K + channel];
    float dPT = slopes[PT * K + channel];
    int64_t at = image * batch->scores.image + channel * batch->scores.channel + start * batch->scores.pixel;
    int64_t out = image * batch->gradient.image + channel * batch->gradient.channel + start * batch->gradient.pixel;
    int focusing = 0, soft = batch->kind == F32;    /* focusing: whether a slope depends on log p */
    for (int k = 0; k < batch->curves; k++) focusing |= batch->curve[k].gamma != 0;
    for (int i = 0; i < n; i += W) {
        vi label = load_int(room->label + i), hit = label == 1;
        vf count = masked ? load(room->count + i) : splat(1), dz = splat(0);
        vf t = soft ? load(room->soft + i) : keep(hit, splat(1));
        int left = masked ? n - i : W;
        vf z = read_scores(batch, at + i * batch->scores.pixel, left);
        if (masked) z = keep(count > 0, z);
        Odds odds = sigmoid(z, focusing);
        if (batch->region) {
            vf p = choose(z >= 0, odds.near, odds.far), g = dP + t * (soft ? dPT : dI);
            /* I is of min(p, t), whose slope is 1/2 where they are equal, as torch has it. */
            if (soft) g += dI * (keep(p < t, splat(0.5f)) + keep(p <= t, splat(0.5f)));
            if (batch->squares) g += 2 * p * dPP;
            dz = odds.near * odds.far * g * count;
        }
        if (soft && batch->curves) {
            Truth there = side(odds, z >= 0), absent = side(odds, z < 0);
            dz += curves_slope(batch, slopes, channel, splat_int(1), there, count * t, 1) * there.rest;
            dz -= curves_slope(batch, slopes, channel, splat_int(0), absent, count * (1 - t), 1) * absent.rest;
        } else if (batch->curves) {
            Truth truth = side(odds, (z >= 0) == hit);
            vf u = curves_slope(batch, slopes, channel, label, truth, count, 1) * truth.rest;
            dz += choose(hit, u, -u);
        }
        write_gradient(batch, out + i * batch->gradient.pixel, left, dz);
    }
}

/* What a chunk gives to room->part, or its gradient. n: at most CHUNK; a multiple of W unless masked. */
FOR_THIS_PROCESSOR
static void chunk(const Batch *batch, Room *room, int64_t image, int64_t channel, int64_t start, int n, int back, int masked)
{
    read_target(batch, room, image, channel, start, n, masked);
    if (room->flaws) return;                        /* the caller raises; such labels must not be looked up */
    if (back && batch->sigmoid)
        sigmoid_gradient(batch, room, image, channel, start, n, masked);
    else if (back)
        softmax_gradient(batch, room, image, start, n, masked);
    else if (batch->sigmoid)
        sigmoid_sums(batch, room, image, channel, start, n, masked);
    else
        softmax_sums(batch, room, image, start, n, masked);
}

/* One job: pixels of an image, from `start` to `stop`. */
static void look_at(const Batch *batch, Room *room, int64_t image, int64_t start, int64_t stop, int back)
{
    int64_t K = batch->channels, some = batch->sigmoid ? 1 : K;
    int rows = CURVES + batch->curves, masked = batch->weight.data || batch->ignores;
    for (int64_t channel = 0; channel < K; channel += some)
        for (int64_t at = start, n; at < stop; at += n) {
            n = stop - at < CHUNK ? stop - at : CHUNK;
            if (!masked && n > W) n -= n % W;       /* the last few pixels are a chunk of their own */
            for (int row = 0; row < rows && !back; row++)
                memset(room->part + (row * K + channel) * W, 0, some * W * sizeof(float));
            chunk(batch, room, image, channel, at, (int)n, back, masked || n % W);
            for (int row = 0; row < rows && !back; row++)
                for (int64_t i = (row * K + channel) * W, last = i + some * W; i < last; i++)
                    room->whole[i] += room->part[i];
        }
}

typedef struct {
    const Batch *batch;
    int64_t cuts, next;                             /* jobs of an image, the next job */
    int back, flaws;
} Work;

/* Take jobs until none is left. */
static void *take_jobs(void *argument)
{
    Work *work = argument;
    const Batch *batch = work->batch;
    int64_t rows = (CURVES + batch->curves) * batch->channels;
    Room *room = malloc(sizeof *room);
    float *memory = malloc((rows + batch->channels) * W * sizeof *memory);
    double *whole = malloc(rows * W * sizeof *whole);
    if (room && memory && whole) {
        *room = (Room){.exps = memory, .part = memory + batch->channels * W, .whole = whole};
        for (;;) {
            int64_t i = __atomic_fetch_add(&work->next, 1, __ATOMIC_RELAXED);
            if (i >= batch->images * work->cuts) break;
            int64_t start = i % work->cuts * batch->job, stop = start + batch->job;
            memset(whole, 0, rows * W * sizeof *whole);
            look_at(batch, room, i / work->cuts, start, stop < batch->pixels ? stop : batch->pixels, work->back);
            if (work->back) continue;
            for (int64_t row = 0; row < rows; row++) {
                double sum = 0;
                for (int w = 0; w < W; w++) sum += whole[row * W + w];
                batch->sums[i * rows + row] = sum;
            }
        }
    }
    __atomic_fetch_or(&work->flaws, room && memory && whole ? room->flaws : NO_MEMORY, __ATOMIC_RELAXED);
    free(whole);
    free(memory);
    free(room);
    return NULL;
}

static int run(const Batch *batch, int back)
{
    Work work = {.batch = batch, .cuts = (batch->pixels + batch->job - 1) / batch->job, .back = back};
#ifndef _WIN32
    pthread_t threads[THREADS];
    int started = 0;
    while (started < batch->threads - 1 && started < THREADS && started + 1 < batch->images * work.cuts)
        if (pthread_create(&threads[started], NULL, take_jobs, &work) == 0)
            started++;
        else
            break;                                  /* the others take its jobs */
#endif
    take_jobs(&work);
#ifndef _WIN32
    while (started > 0) pthread_join(threads[--started], NULL);
#endif
    return work.flaws;
}

#ifdef _WIN32
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

/* Write batch->sums; 0, or what is wrong: BAD_TARGET, BAD_WEIGHT, NO_MEMORY. */
PUBLIC int lossmith_sums(const Batch *batch) { return run(batch, 0); }

/* Write batch->gradient. */
PUBLIC int lossmith_gradient(const Batch *batch) { return run(batch, 1); }

/* Changes with Batch and what the functions mean, 0 on a processor without fitting instructions: compiled.py does
 * without a library of another version. */
PUBLIC int lossmith_version(void)
{
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
#endif
    return VERSION;
}
