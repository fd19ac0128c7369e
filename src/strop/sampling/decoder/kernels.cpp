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
template <int N> struct Half {
    typedef float type __attribute__((vector_size(2 * N)));
};
template <int N, class T, class F> static inline float fold(T x, F both) { // N bytes
    typename Half<N / 4>::type low, high;
    std::memcpy(&low, &x, N / 2);
    std::memcpy(&high, (const char *)&x + N / 2, N / 2);
    low = both(low, high);
    if constexpr (N > 16)
        return fold<N / 2>(low, both);
    else
        return both(low[0], low[1]);
}
static inline float sum(lane x) {
    return fold<64>(x, [](auto a, auto b) { return a + b; });
}
static inline float largest(lane x) {
    return fold<64>(x, [](auto a, auto b) { return a > b ? a : b; });
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

struct Row { // y = W x + bias for one row: as fast as W can be read
    int64_t inputs, outputs;
    const float *x, *weight, *bias; // [inputs], [outputs, inputs], [outputs] or null
    float *y;
    int64_t threads;
};

template <int R> static void products(const Row *a, int64_t at) {
    lane even[R] = {}, odd[R] = {};
    const float *w = a->weight + at * a->inputs;
    int64_t k = 0;
    for (; k + 2 * W <= a->inputs; k += 2 * W) {
        const lane first = load(a->x + k), second = load(a->x + k + W);
        for (int r = 0; r < R; r++) {
            const float *p = w + r * a->inputs + k;
            __builtin_prefetch(p + 2 * R * a->inputs);
            __builtin_prefetch(p + 2 * R * a->inputs + W);
            even[r] += first * load(p);
            odd[r] += second * load(p + W);
        }
    }
    for (int r = 0; r < R; r++) {
        float total = sum(even[r] + odd[r]) + (a->bias ? a->bias[at + r] : 0.0f);
        for (int64_t i = k; i < a->inputs; i++) total += a->x[i] * w[r * a->inputs + i];
        a->y[at + r] = total;
    }
}

extern "C" void row_product(const Row *a) {
    const int64_t fours = a->outputs / 4;
#pragma omp parallel for num_threads(a->threads) if (a->outputs * a->inputs > 262144)
    for (int64_t i = 0; i < fours; i++) products<4>(a, 4 * i);
    for (int64_t i = 4 * fours; i < a->outputs; i++) products<1>(a, i);
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
    const float *b;  // in blocks of 2 W outputs, each [rank, 2 W]; the last one holds what is left
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

constexpr int64_t RANKS = 64; // rows of A between two passes over the outputs

// One module for Q rows: the inner products of some rows of A, then their share of all outputs, kept in registers.
// Meanwhile asks for what is read next: this module's B, then the next module's A.
template <int Q> static void apply(const LowRank *a, const Piece &piece, const float *coming, const int64_t *rows) {
    const float *x[Q];
    float *y[Q];
    for (int i = 0; i < Q; i++) {
        x[i] = a->x + rows[i] * a->inputs;
        y[i] = a->y + rows[i] * a->outputs + piece.offset;
    }
    for (int64_t from = 0; from < piece.rank; from += RANKS) {
        const int64_t ranks = std::min(RANKS, piece.rank - from);
        float inner[RANKS][Q];
        for (int64_t r = 0; r < ranks; r++) {
            const float *down = piece.a + (from + r) * a->inputs, *later = piece.b + (from + r) * a->inputs;
            lane even[Q] = {}, odd[Q] = {};
            int64_t k = 0;
            for (; k + 2 * W <= a->inputs; k += 2 * W) {
                const lane first = load(down + k), second = load(down + k + W);
                __builtin_prefetch(later + k);
                __builtin_prefetch(later + k + W);
                for (int i = 0; i < Q; i++) {
                    even[i] += first * load(x[i] + k);
                    odd[i] += second * load(x[i] + k + W);
                }
            }
            for (int i = 0; i < Q; i++) inner[r][i] = sum(even[i] + odd[i]);
            for (; k < a->inputs; k++)
                for (int i = 0; i < Q; i++) inner[r][i] += down[k] * x[i][k];
        }
        int64_t j = 0;
        for (; j + 2 * W <= piece.width; j += 2 * W) {
            lane first[Q], second[Q];
            for (int i = 0; i < Q; i++) first[i] = load(y[i] + j), second[i] = load(y[i] + j + W);
            const float *up = piece.b + piece.rank * j + from * 2 * W, *later = coming + (up - piece.b);
            for (int64_t r = 0; r < ranks; r++, up += 2 * W, later += 2 * W) {
                const lane u = load(up), v = load(up + W);
                __builtin_prefetch(later);
                __builtin_prefetch(later + W);
                for (int i = 0; i < Q; i++) first[i] += inner[r][i] * u, second[i] += inner[r][i] * v;
            }
            for (int i = 0; i < Q; i++) store(y[i] + j, first[i]), store(y[i] + j + W, second[i]);
        }
        const int64_t left = piece.width - j;
        const float *up = piece.b + piece.rank * j + from * left;
        for (int64_t r = 0; r < ranks; r++, up += left)
            for (int i = 0; i < Q; i++)
                for (int64_t k = 0; k < left; k++) y[i][j + k] += inner[r][i] * up[k];
    }
}

extern "C" void low_rank(const LowRank *a) {
#pragma omp parallel for schedule(dynamic) num_threads(a->threads) if (a->num_tasks > 3)
    for (int64_t task = 0; task < a->num_tasks; task++) {
        const int64_t *rows = a->rows + a->task_start[task], count = a->task_start[task + 1] - a->task_start[task];
        for (int64_t p = a->task_piece[2 * task]; p < a->task_piece[2 * task + 1]; p++) {
            const Piece &piece = a->pieces[p];
            const bool is_last = p + 1 == a->task_piece[2 * task + 1];
            const int64_t after = is_last && task + 1 < a->num_tasks ? a->task_piece[2 * task + 2] : p + !is_last;
            const float *coming = a->pieces[after].a;
            int64_t i = 0;
            for (; i + 8 <= count; i += 8) apply<8>(a, piece, coming, rows + i);
            for (; i + 4 <= count; i += 4) apply<4>(a, piece, coming, rows + i);
            for (; i + 2 <= count; i += 2) apply<2>(a, piece, coming, rows + i);
            for (; i < count; i++) apply<1>(a, piece, coming, rows + i);
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

struct State { // running softmax: weighted sums of values, largest score, sum of weights
    float *sums; // [queries, padded]
    float *maximum, *total;
    State of(int64_t i, int64_t padded) const { return State{sums + i * padded, maximum + i, total + i}; }
};
struct Query {
    const float *x;
    int64_t first, last; // positions it may see: first <= position < last
};

// Turns one query's scores at start ... start + count - 1 into weights relative to its largest score so far.
static inline void soften(const Attention *a, const Query &q, int64_t count, int64_t start, float *x, State state) {
    if (a->softcap > 0)
        for (int64_t k = 0; k < count; k += W) store(x + k, a->softcap * hyperbolic_tangent(load(x + k) / a->softcap));
    for (int64_t t = 0; t < std::min(q.first - start, count); t++) x[t] = MASKED;
    for (int64_t t = std::max(q.last - start, (int64_t)0); t < count; t++) x[t] = MASKED;
    lane top = load(x);
    for (int64_t k = W; k < count; k += W) top = load(x + k) > top ? load(x + k) : top;
    const float before = *state.maximum, now = std::max(before, largest(top));
    if (now <= MASKED) { // nothing in sight yet
        std::memset(x, 0, count * sizeof(float));
        return;
    }
    lane mass = {};
    for (int64_t k = 0; k < count; k += W) {
        const lane e = exponential(load(x + k) - now);
        store(x + k, e);
        mass += e;
    }
    if (now > before) {
        const float shrink = std::exp(before - now);
        *state.total *= shrink;
        for (int64_t d = 0; d < a->padded; d += W) store(state.sums + d, load(state.sums + d) * shrink);
    }
    *state.maximum = now;
    *state.total += sum(mass);
}

// Scores of Q queries over P pages; meanwhile asks for the keys of the next pages.
template <int Q, int P>
static inline void score(const Query *q, const float *const *keys, const float *const *next, int64_t size, float *out) {
    lane found[Q][P] = {};
    for (int64_t d = 0; d < size; d++)
        for (int p = 0; p < P; p++) {
            const lane k = load(keys[p] + d * W);
            __builtin_prefetch(next[p] + d * W);
            for (int i = 0; i < Q; i++) found[i][p] += q[i].x[d] * k;
        }
    for (int i = 0; i < Q; i++)
        for (int p = 0; p < P; p++) store(out + i * TILE * W + p * W, found[i][p]);
}

template <int Q, int C>
static inline void add_values(const float *weights, const float *const *keys, const float *const *next, int64_t size,
                              int64_t count, int64_t padded, float *sums) {
    for (int64_t d = 0; d < padded; d += C * W) {
        lane total[Q][C];
        for (int i = 0; i < Q; i++)
            for (int c = 0; c < C; c++) total[i][c] = load(sums + i * padded + d + c * W);
        for (int64_t p = 0; p * W < count; p++) {
            const float *values = keys[p] + W * size + d, *coming = next[p] + W * size + d;
            const int64_t end = std::min(W, count - p * W);
            for (int64_t t = 0; t < end; t++)
                for (int c = 0; c < C; c++) {
                    const lane x = load(values + t * padded + c * W);
                    __builtin_prefetch(coming + t * padded + c * W);
                    for (int i = 0; i < Q; i++) total[i][c] += weights[i * TILE * W + p * W + t] * x;
                }
        }
        for (int i = 0; i < Q; i++)
            for (int c = 0; c < C; c++) store(sums + i * padded + d + c * W, total[i][c]);
    }
}

// P pages from the position `start` on, for Q queries: scores, running softmax, values.
template <int Q, int P>
static void tile(const Attention *a, const Query *q, const float *const *keys, const float *const *next, int64_t pages,
                 int64_t start, State state) {
    float x[Q * TILE * W];
    int64_t p = 0, written = 0;
    for (; p + P <= pages; p += P) score<Q, P>(q, keys + p, next + p, a->size, x + p * W);
    for (; p < pages; p++) score<Q, 1>(q, keys + p, next + p, a->size, x + p * W);
    for (int i = 0; i < Q; i++) {
        soften(a, q[i], pages * W, start, x + i * TILE * W, state.of(i, a->padded));
        // What lies behind the last token in sight was never written: 0 times garbage may be NaN.
        written = std::max(written, std::min(q[i].last - start, pages * W));
    }
    if (a->padded % (4 * W) == 0 && Q <= 4)
        add_values<Q, Q <= 4 ? 4 : 1>(x, keys, next, a->size, written, a->padded, state.sums);
    else if (a->padded % (2 * W) == 0)
        add_values<Q, 2>(x, keys, next, a->size, written, a->padded, state.sums);
    else
        add_values<Q, 1>(x, keys, next, a->size, written, a->padded, state.sums);
}

struct Heads { // a block's queries of the key heads first to last - 1, `queries` each
    const Query *query;
    int64_t first, last, queries;
};

// The queries [offset, offset + count) of every head over the pages [from, to) of one row's table.
static void attend(const Attention *a, Heads heads, int64_t offset, int64_t count, const int64_t *table, int64_t from,
                   int64_t to, State all) {
    const int64_t head_floats = W * (a->size + a->padded), stride = a->kv_heads * head_floats;
    int64_t first = heads.query[offset].first;
    for (int64_t i = 1; i < count; i++) first = std::min(first, heads.query[offset + i].first);
    for (int64_t page = std::max(from, first / W); page < to; page += TILE) {
        const int64_t pages = std::min(TILE, to - page);
        for (int64_t head = heads.first; head < heads.last; head++) {
            const float *keys[TILE], *next[TILE];
            const bool ends = head + 1 == heads.last;
            for (int64_t p = 0; p < pages; p++) {
                keys[p] = a->pages + table[page + p] * stride + head * head_floats;
                const int64_t later = std::min(page + TILE + p, to - 1);
                next[p] = ends ? a->pages + table[later] * stride + heads.first * head_floats : keys[p] + head_floats;
            }
            const int64_t base = (head - heads.first) * heads.queries + offset;
            int64_t i = 0;
            for (; i + 8 <= count; i += 8)
                tile<8, 1>(a, heads.query + base + i, keys, next, pages, page * W, all.of(base + i, a->padded));
            for (; i + 4 <= count; i += 4)
                tile<4, 2>(a, heads.query + base + i, keys, next, pages, page * W, all.of(base + i, a->padded));
            for (; i + 2 <= count; i += 2)
                tile<2, 4>(a, heads.query + base + i, keys, next, pages, page * W, all.of(base + i, a->padded));
            for (; i < count; i++)
                tile<1, 4>(a, heads.query + base + i, keys, next, pages, page * W, all.of(base + i, a->padded));
        }
    }
}

struct Scratch {
    std::vector<float> floats;
    std::vector<Query> queries;
};

static void block(const Attention *a, int64_t number, int64_t first_head, int64_t last_head, Scratch &scratch) {
    const Tokens *k = a->tokens;
    const int64_t *members = k->order + k->block_start[number];
    const int64_t count = k->block_start[number + 1] - k->block_start[number], shared = k->block_shared[number];
    const int64_t group = a->heads / a->kv_heads, queries = count * group, total = queries * (last_head - first_head);
    const int64_t width = (a->heads + 2 * a->kv_heads) * a->size;
    scratch.floats.assign(total * (a->padded + 2), 0.0f);
    scratch.queries.resize(total);
    float *floats = scratch.floats.data();
    State state{floats, floats + total * a->padded, floats + total * (a->padded + 1)};
    for (int64_t n = 0; n < total; n++) {
        const int64_t head = first_head + n / queries, i = n % queries, token = members[i / group];
        const int64_t position = k->position[token];
        const float *x = a->qkv + token * width + (head * group + i % group) * a->size;
        scratch.queries[n] = {x, a->window ? std::max((int64_t)0, position + 1 - a->window) : 0, position + 1};
        state.maximum[n] = MASKED;
    }
    const Heads heads{scratch.queries.data(), first_head, last_head, queries};
    if (shared) attend(a, heads, 0, queries, k->table + k->row[members[0]] * k->table_width, 0, shared, state);
    for (int64_t m = 0; m < count; m++) {
        const int64_t *table = k->table + k->row[members[m]] * k->table_width;
        attend(a, heads, m * group, group, table, shared, k->position[members[m]] / W + 1, state);
    }
    for (int64_t n = 0; n < total; n++) {
        const int64_t head = first_head + n / queries, i = n % queries;
        float *out = a->out + (members[i / group] * a->heads + head * group + i % group) * a->size;
        for (int64_t d = 0; d < a->size; d++) out[d] = state.sums[n * a->padded + d] / state.total[n];
    }
}

extern "C" void attention(const Attention *a) {
    const Tokens *k = a->tokens;
    // With many blocks a task is a whole block, so that a page is read from end to end; else one head of a block.
    const int64_t heads = k->num_blocks >= 4 * k->threads ? a->kv_heads : 1, tasks = k->num_blocks * a->kv_heads / heads;
#pragma omp parallel num_threads(k->threads) if (tasks > 1 && k->threads > 1 && k->count * a->heads > 7)
    {
        Scratch scratch;
#pragma omp for
        for (int64_t t = 0; t < k->count; t++) write_token(a, t);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < tasks; task++) {
            const int64_t first = task * heads % a->kv_heads;
            block(a, task * heads / a->kv_heads, first, first + heads, scratch);
        }
    }
}
