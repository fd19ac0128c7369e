// The parts of a decode step that are not matrix products, in float32: norms, gates, low-rank adapters, and attention
// over paged keys and values. Compiled once a machine by native.py; every function takes one pointer to a struct.
//
// Why: the library's attention read a strided cache at 3 to 10 GB/s here, this kernel at 20 to 30 (it asks for the next
// page while it works on this one), and a group's shared pages are read once for the whole group.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

typedef float lane __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t lane_int __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t W = 16;      // floats in a vector and positions in a page
constexpr int64_t TILE = 4;    // pages that are worked on together
constexpr int64_t QUERIES = 8; // queries that share a pass over a tile
constexpr float MASKED = -1e30f;

static inline lane spread(float x) { return lane{} + x; }
static inline lane load(const float *p) { return *(const lane *)p; }
static inline void store(float *p, lane x) { *(lane *)p = x; }
static inline float sum(lane x) {
    float total = 0;
    for (int i = 0; i < W; i++) total += x[i];
    return total;
}
static inline float largest(lane x) {
    float found = x[0];
    for (int i = 1; i < W; i++) found = x[i] > found ? x[i] : found;
    return found;
}

// exp(x) for x <= 88: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes' coefficients), 0 far below; NaN stays NaN.
static inline lane exponential(lane x) {
    lane clamped = x < spread(-87.0f) ? spread(-87.0f) : x;
    clamped = clamped > spread(88.0f) ? spread(88.0f) : clamped;
    lane scaled = clamped * 1.44269504088896341f;
    lane shifted = scaled + 12582912.0f; // 1.5 * 2^23: rounds to the nearest integer
    lane whole = shifted - 12582912.0f;
    lane r = clamped - whole * 0.693359375f + whole * 2.12194440e-4f;
    lane p = spread(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    lane_int power = ((lane_int)shifted - 0x4B400000 + 127) << 23;
    lane result = p * (lane)power;
    return x < spread(-87.0f) ? lane{} : result;
}
static inline lane hyperbolic_tangent(lane x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

struct Norm { // out[i] = x[i] / rms(x[i]) * weight, or with `add`: residual[i] += that
    int64_t rows, size;
    float eps;
    const float *x, *weight;
    float *out;
    int64_t add, threads;
};

static inline float inverse_rms(const float *x, int64_t size, float eps) {
    lane squares = {};
    int64_t i = 0;
    for (; i + W <= size; i += W) squares += load(x + i) * load(x + i);
    float total = sum(squares);
    for (; i < size; i++) total += x[i] * x[i];
    return 1.0f / std::sqrt(total / size + eps);
}

extern "C" void normalise(const Norm *a) {
#pragma omp parallel for num_threads(a->threads) if (a->rows * a->size > 65536)
    for (int64_t row = 0; row < a->rows; row++) {
        const float *x = a->x + row * a->size;
        float *out = a->out + row * a->size;
        float scale = inverse_rms(x, a->size, a->eps);
        if (a->add)
            for (int64_t i = 0; i < a->size; i++) out[i] += x[i] * scale * a->weight[i];
        else
            for (int64_t i = 0; i < a->size; i++) out[i] = x[i] * scale * a->weight[i];
    }
}

struct Gate { // out = act(x[:, :size]) * x[:, size:]
    int64_t rows, size, gelu;
    const float *x;
    float *out;
    int64_t threads;
};

static inline lane activated(lane g, int64_t gelu) {
    if (!gelu) return g / (1.0f + exponential(-g));
    lane inner = 0.7978845608028654f * (g + 0.044715f * g * g * g);
    return 0.5f * g * (1.0f + hyperbolic_tangent(inner));
}

extern "C" void gate(const Gate *a) {
#pragma omp parallel for num_threads(a->threads) if (a->rows * a->size > 32768)
    for (int64_t row = 0; row < a->rows; row++) {
        const float *g = a->x + row * 2 * a->size, *up = g + a->size;
        float *out = a->out + row * a->size;
        int64_t i = 0;
        for (; i + W <= a->size; i += W) store(out + i, activated(load(g + i), a->gelu) * load(up + i));
        if (i < a->size) {
            lane rest = {};
            std::memcpy(&rest, g + i, (a->size - i) * sizeof(float));
            rest = activated(rest, a->gelu);
            for (int64_t k = 0; i + k < a->size; k++) out[i + k] = rest[k] * up[i + k];
        }
    }
}

// ---------------------------------------------------------------------------------------------- low-rank adapters
struct Piece { // one module of one adapter: y[:, offset : offset + width] += (x A^T) B^T, the scaling is in B
    const float *a;  // [rank, inputs]
    const float *bt; // [rank, width]
    int64_t rank, offset, width;
};
struct LowRank {
    int64_t inputs, outputs;
    const float *x;
    float *y;
    int64_t num_tasks;          // each: some rows of one adapter
    const int64_t *task_start;  // [num_tasks + 1] into rows
    const int64_t *task_piece;  // [2 * num_tasks] the first and last + 1 of the adapter's pieces here
    const int64_t *rows;
    const Piece *pieces;
    int64_t threads;
};

static inline float dot(const float *a, const float *b, int64_t size) {
    lane even = {}, odd = {};
    int64_t i = 0;
    for (; i + 2 * W <= size; i += 2 * W) {
        even += load(a + i) * load(b + i);
        odd += load(a + i + W) * load(b + i + W);
    }
    float total = 0;
    for (; i < size; i++) total += a[i] * b[i];
    return total + sum(even + odd);
}

extern "C" void low_rank(const LowRank *a) {
#pragma omp parallel for schedule(dynamic) num_threads(a->threads) if (a->num_tasks > 3)
    for (int64_t task = 0; task < a->num_tasks; task++) {
        const int64_t first = a->task_start[task], count = a->task_start[task + 1] - first;
        for (int64_t p = a->task_piece[2 * task]; p < a->task_piece[2 * task + 1]; p++) {
            const Piece piece = a->pieces[p];
            float inner[QUERIES];
            for (int64_t r = 0; r < piece.rank; r++) {
                const float *down = piece.a + r * a->inputs, *up = piece.bt + r * piece.width;
                for (int64_t i = 0; i < count; i++) inner[i] = dot(down, a->x + a->rows[first + i] * a->inputs, a->inputs);
                for (int64_t i = 0; i < count; i++) {
                    float *y = a->y + a->rows[first + i] * a->outputs + piece.offset;
                    const float c = inner[i];
                    for (int64_t j = 0; j < piece.width; j++) y[j] += c * up[j];
                }
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------- attention
struct Tokens { // the tokens of one forward, the same for all layers
    int64_t count;
    const int64_t *row;       // [count] whose page table
    const int64_t *position;  // [count]
    const int64_t *order;     // [count] tokens, those of a block side by side
    int64_t num_blocks;
    const int64_t *block_start;  // [num_blocks + 1] into order, at most QUERIES tokens each
    const int64_t *block_shared; // [num_blocks] leading pages that all its tokens have in common, all of them full
    const int64_t *table;        // page numbers by row
    int64_t table_width;
    int64_t threads;
};
struct Attention {
    const Tokens *tokens;
    float *pages; // this layer's: [page][kv head][keys: size x W | values: W x padded size]
    int64_t heads, kv_heads, size, padded;
    float *qkv;   // [count, (heads + 2 kv_heads) * size]; queries and keys are rotated in place
    float *out;   // [count, heads * size]
    const float *query_norm, *key_norm; // [size] or null
    float eps, scale, softcap;          // softcap 0: none
    int64_t window;                     // 0: none
    const float *cosines, *sines;       // [positions, size], of this layer's kind
};

static void rotate(float *x, int64_t size, const float *norm, float eps, float scale, const float *c, const float *s) {
    const int64_t half = size / 2;
    if (norm) {
        const float inverse = inverse_rms(x, size, eps);
        for (int64_t i = 0; i < size; i++) x[i] *= inverse * norm[i];
    }
    for (int64_t i = 0; i < half; i++) {
        const float a = x[i], b = x[i + half];
        x[i] = (a * c[i] - b * s[i]) * scale;
        x[i + half] = (b * c[i + half] + a * s[i + half]) * scale;
    }
}

static void write_token(const Attention *a, int64_t t) {
    const Tokens *k = a->tokens;
    const int64_t position = k->position[t], width = a->heads + 2 * a->kv_heads, head_floats = W * (a->size + a->padded);
    const float *c = a->cosines + position * a->size, *s = a->sines + position * a->size;
    float *x = a->qkv + t * width * a->size;
    for (int64_t h = 0; h < a->heads; h++) rotate(x + h * a->size, a->size, a->query_norm, a->eps, a->scale, c, s);
    x += a->heads * a->size;
    const int64_t page = k->table[k->row[t] * k->table_width + position / W], at = position % W;
    float *target = a->pages + page * a->kv_heads * head_floats;
    for (int64_t h = 0; h < a->kv_heads; h++, target += head_floats) {
        rotate(x + h * a->size, a->size, a->key_norm, a->eps, 1.0f, c, s);
        for (int64_t d = 0; d < a->size; d++) target[d * W + at] = x[h * a->size + d];
        float *values = target + W * a->size + at * a->padded;
        std::memcpy(values, x + (a->kv_heads + h) * a->size, a->size * sizeof(float));
        for (int64_t d = a->size; d < a->padded; d++) values[d] = 0;
    }
}

struct State { // running softmax of the queries of one block
    float *sums;    // [queries, padded]
    float *maximum, *total;
};
struct Query {
    const float *x;
    int64_t first, last; // positions it may see: first <= position < last
};

template <int Q, int P> static inline void score(const Query *q, const float *const *keys, int64_t size, float *out) {
    lane found[Q][P] = {};
    for (int64_t d = 0; d < size; d++)
        for (int p = 0; p < P; p++) {
            const lane k = load(keys[p] + d * W);
            for (int i = 0; i < Q; i++) found[i][p] += q[i].x[d] * k;
        }
    for (int i = 0; i < Q; i++)
        for (int p = 0; p < P; p++) store(out + i * TILE * W + p * W, found[i][p]);
}

template <int Q, int C>
static inline void add_values(const float *weights, const float *const *values, int64_t count, int64_t padded, float *sums) {
    for (int64_t d = 0; d < padded; d += C * W) {
        lane total[Q][C];
        for (int i = 0; i < Q; i++)
            for (int c = 0; c < C; c++) total[i][c] = load(sums + i * padded + d + c * W);
        for (int64_t p = 0; p * W < count; p++)
            for (int64_t t = 0; t < std::min(W, count - p * W); t++) {
                const float *v = values[p] + t * padded + d;
                for (int c = 0; c < C; c++) {
                    const lane x = load(v + c * W);
                    for (int i = 0; i < Q; i++) total[i][c] += weights[i * TILE * W + p * W + t] * x;
                }
            }
        for (int i = 0; i < Q; i++)
            for (int c = 0; c < C; c++) store(sums + i * padded + d + c * W, total[i][c]);
    }
}

template <int Q> static inline void add_any(const float *w, const float *const *v, int64_t count, int64_t padded, float *s) {
    if (padded % (4 * W) == 0 && Q < 4)
        add_values<Q, 4>(w, v, count, padded, s);
    else if (padded % (2 * W) == 0)
        add_values<Q, 2>(w, v, count, padded, s);
    else
        add_values<Q, 1>(w, v, count, padded, s);
}

template <int Q, int P>
static void tile(const Attention *a, const Query *q, const float *const *keys, const float *const *values, int64_t pages,
                 int64_t start, State state) {
    float scores[Q * TILE * W];
    int64_t p = 0;
    for (; p + P <= pages; p += P) score<Q, P>(q, keys + p, a->size, scores + p * W);
    for (; p < pages; p++) score<Q, 1>(q, keys + p, a->size, scores + p * W);
    for (int i = 0; i < Q; i++) {
        float *x = scores + i * TILE * W;
        if (a->softcap > 0)
            for (int64_t k = 0; k < pages * W; k += W) store(x + k, a->softcap * hyperbolic_tangent(load(x + k) / a->softcap));
        for (int64_t t = 0; t < std::min(q[i].first - start, pages * W); t++) x[t] = MASKED;
        for (int64_t t = std::max(q[i].last - start, (int64_t)0); t < pages * W; t++) x[t] = MASKED;
        lane top = load(x);
        for (int64_t k = W; k < pages * W; k += W) top = load(x + k) > top ? load(x + k) : top;
        const float before = state.maximum[i], now = std::max(before, largest(top));
        if (now <= MASKED) { // nothing in sight yet
            std::memset(x, 0, pages * W * sizeof(float));
            continue;
        }
        lane mass = {};
        for (int64_t k = 0; k < pages * W; k += W) {
            const lane e = exponential(load(x + k) - now);
            store(x + k, e);
            mass += e;
        }
        if (now > before) {
            const float shrink = std::exp(before - now);
            state.total[i] *= shrink;
            for (int64_t d = 0; d < a->padded; d++) state.sums[i * a->padded + d] *= shrink;
        }
        state.maximum[i] = now;
        state.total[i] += sum(mass);
    }
    int64_t written = 0; // what lies behind the last token in sight was never written: 0 times garbage may be NaN
    for (int i = 0; i < Q; i++) written = std::max(written, std::min(q[i].last - start, pages * W));
    add_any<Q>(scores, values, written, a->padded, state.sums);
}

static void prefetch(const float *p, int64_t floats) {
    for (int64_t i = 0; i < floats; i += W) __builtin_prefetch(p + i);
}

// All queries over the pages [from, to) of one row's table.
static void attend(const Attention *a, const Query *q, int64_t count, const int64_t *table, int64_t from, int64_t to,
                   int64_t head, State state) {
    const int64_t head_floats = W * (a->size + a->padded);
    const float *base = a->pages + head * head_floats;
    const int64_t stride = a->kv_heads * head_floats;
    int64_t first = q[0].first;
    for (int64_t i = 1; i < count; i++) first = std::min(first, q[i].first);
    for (int64_t page = std::max(from, first / W); page < to; page += TILE) {
        const int64_t pages = std::min(TILE, to - page);
        const float *keys[TILE], *values[TILE];
        for (int64_t p = 0; p < pages; p++) {
            keys[p] = base + table[page + p] * stride;
            values[p] = keys[p] + W * a->size;
        }
        for (int64_t p = page + TILE; p < std::min(page + 2 * TILE, to); p++) prefetch(base + table[p] * stride, head_floats);
        int64_t i = 0;
        for (; i + 8 <= count; i += 8)
            tile<8, 1>(a, q + i, keys, values, pages, page * W,
                       State{state.sums + i * a->padded, state.maximum + i, state.total + i});
        for (; i + 4 <= count; i += 4)
            tile<4, 2>(a, q + i, keys, values, pages, page * W,
                       State{state.sums + i * a->padded, state.maximum + i, state.total + i});
        for (; i + 2 <= count; i += 2)
            tile<2, 4>(a, q + i, keys, values, pages, page * W,
                       State{state.sums + i * a->padded, state.maximum + i, state.total + i});
        for (; i < count; i++)
            tile<1, 4>(a, q + i, keys, values, pages, page * W,
                       State{state.sums + i * a->padded, state.maximum + i, state.total + i});
    }
}

static void block(const Attention *a, int64_t number, int64_t head, std::vector<float> &scratch) {
    const Tokens *k = a->tokens;
    const int64_t *members = k->order + k->block_start[number];
    const int64_t count = k->block_start[number + 1] - k->block_start[number], shared = k->block_shared[number];
    const int64_t group = a->heads / a->kv_heads, queries = count * group, width = (a->heads + 2 * a->kv_heads) * a->size;
    scratch.assign(queries * (a->padded + 2), 0.0f);
    State state{scratch.data(), scratch.data() + queries * a->padded, scratch.data() + queries * (a->padded + 1)};
    Query q[QUERIES * 64];
    for (int64_t i = 0; i < queries; i++) {
        const int64_t token = members[i / group], position = k->position[token];
        q[i].x = a->qkv + token * width + (head * group + i % group) * a->size;
        q[i].last = position + 1;
        q[i].first = a->window ? std::max((int64_t)0, position + 1 - a->window) : 0;
        state.maximum[i] = MASKED;
    }
    if (shared) attend(a, q, queries, k->table + k->row[members[0]] * k->table_width, 0, shared, head, state);
    for (int64_t m = 0; m < count; m++) {
        const int64_t token = members[m], i = m * group;
        attend(a, q + i, group, k->table + k->row[token] * k->table_width, shared, k->position[token] / W + 1, head,
               State{state.sums + i * a->padded, state.maximum + i, state.total + i});
    }
    for (int64_t i = 0; i < queries; i++) {
        float *out = a->out + (members[i / group] * a->heads + head * group + i % group) * a->size;
        for (int64_t d = 0; d < a->size; d++) out[d] = state.sums[i * a->padded + d] / state.total[i];
    }
}

extern "C" void attention(const Attention *a) {
    const Tokens *k = a->tokens;
    const int64_t tasks = k->num_blocks * a->kv_heads;
#pragma omp parallel num_threads(k->threads) if (tasks > 1 && k->threads > 1 && k->count * a->heads > 7)
    {
        std::vector<float> scratch;
#pragma omp for
        for (int64_t t = 0; t < k->count; t++) write_token(a, t);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < tasks; task++) block(a, task / a->kv_heads, task % a->kv_heads, scratch);
    }
}
