// Causal attention over heads that stand side by side, forward and backward.

#include <initializer_list>

#include "products.h"

namespace {

// Queries go by QUERIES, each against all keys up to its own. Scores lie turned, one row a key, so that what is
// done along a query's keys is done for LANES of queries at once.
constexpr long QUERIES = 32;

struct Shape {
  long T, D, row;  // positions, head size, floats from one position of q, k, v to the next
  long C, Dp;      // floats from one position of the output to the next, D rounded up to LANES
  float scale;     // 1 / sqrt(D)
  Shape(long T, long H, long D) : T(T), D(D), row(3 * H * D), C(H * D), Dp(rounded_up(D)), scale(1 / sqrtf(D)) {}
};

// Rows that products can run along: those given, or where they end within a vector a copy with zeros behind.
struct Rows {
  const float* at;
  long row;
  Rows(const Shape& s, const float* given, long row, Room& room) : at(given), row(row) {
    if (s.D == s.Dp) return;
    float* wider = room.take(s.T * s.Dp);
    copy(given, row, s.T, s.D, wider, s.Dp);
    at = wider, this->row = s.Dp;
  }
  const float* from(long t) const { return at + t * row; }
};

// Where products may write rows: where they belong, or where those end within a vector a place to copy them from.
struct Written {
  float *at, *belongs;
  long row, belongs_row;
  Written(const Shape& s, float* belongs, long belongs_row, long T, Room& room)
      : at(s.D == s.Dp ? belongs : room.take(T * s.Dp)), belongs(belongs), row(s.D == s.Dp ? belongs_row : s.Dp),
        belongs_row(belongs_row) {}
  float* from(long t) const { return at + t * row; }
  void finish(const Shape& s, long T) const {
    if (at != belongs) copy_back(at, row, T, s.D, belongs, belongs_row);
  }
};

// Give `value` to the scores of keys that come after their queries; the first query is as far on as key `first`.
void blank(float* scores, long first, long seen, long width, float value) {
  Integers lanes;
  for (int lane = 0; lane < LANES; lane++) lanes[lane] = lane;
  for (long j = first + 1; j < seen; j++)
    for (long i = 0; i < j - first; i += LANES) {
      float* at = scores + j * width + i;
      store(at, lanes < static_cast<int>(j - first - i) ? all(value) : load(at));
    }
}

// Replace scores (seen, width) by e^(score - their query's largest), and return both it and their totals (width).
void raise(float* scores, long first, long seen, long width, float* most, float* totals) {
  blank(scores, first, seen, width, -INFINITY);
  for (long i = 0; i < width; i += LANES) {
    Vector top = load(scores + i);
    for (long j = 1; j < seen; j++) {
      const Vector score = load(scores + j * width + i);
      top = score > top ? score : top;
    }
    for (long j = 0; j < seen; j++) {
      const Vector raised = exponential(load(scores + j * width + i) - top);
      store(scores + j * width + i, raised);
    }
    store(most + i, top);
  }
  blank(scores, first, seen, width, 0);
  for (long i = 0; i < width; i += LANES) {
    Vector total{};
    for (long j = 0; j < seen; j++) total += load(scores + j * width + i);
    store(totals + i, total);
  }
}

void head_forward(const Shape& s, const float* q, float* y, float* log_sums) {
  Room room(QUERIES * (s.D + s.T + s.Dp + 2) + s.T * s.Dp);
  float *columns = room.take(s.D * QUERIES), *scores = room.take(s.T * QUERIES);
  float *most = room.take(QUERIES), *totals = room.take(QUERIES), *gathered = room.take(QUERIES * s.Dp);
  const float* k = q + s.C;
  const Rows v(s, q + 2 * s.C, s.row, room);
  for (long first = 0; first < s.T; first += QUERIES) {
    const long n = least(QUERIES, s.T - first), seen = first + n, width = rounded_up(n);
    turn(q + first * s.row, s.row, n, s.D, s.scale, columns, width);
    product(seen, width, s.D, k, s.row, 1, columns, width, scores, width, false);
    raise(scores, first, seen, width, most, totals);
    product(n, s.Dp, seen, scores, 1, width, v.at, v.row, gathered, s.Dp, false);
    for (long i = 0; i < n; i++) {
      const float share = 1 / totals[i];
      for (long d = 0; d < s.D; d++) y[(first + i) * s.C + d] = gathered[i * s.Dp + d] * share;
      log_sums[first + i] = most[i] + logf(totals[i]);
    }
  }
}

// Make probabilities of scores (seen, width), and scores' gradients of the probabilities' ones.
void raise_backward(float* scores, float* gradients, long first, long seen, long width, const float* log_sums,
                    const float* inner, float scale) {
  for (long i = 0; i < width; i += LANES) {
    const Vector log_sum = load(log_sums + i), wanted = load(inner + i);
    for (long at = i; at < seen * width; at += width) {
      const Vector probabilities = exponential(load(scores + at) - log_sum);
      store(scores + at, probabilities);
      store(gradients + at, probabilities * (load(gradients + at) - wanted) * scale);
    }
  }
  blank(scores, first, seen, width, 0);
  blank(gradients, first, seen, width, 0);
}

// With P = softmax(S), S = scale Q K', Y = P V: dV = P' dY, dS = P (dY V' - rows of sum(Y dY)), and so on.
void head_backward(const Shape& s, const float* q, const float* y, const float* log_sums, const float* dy,
                   float* dq) {
  Room room(QUERIES * (2 * s.Dp + 2 * s.T + 2) + 6 * s.T * s.Dp);
  float *columns = room.take(s.Dp * QUERIES), *dcolumns = room.take(s.Dp * QUERIES);
  float *scores = room.take(s.T * QUERIES), *gradients = room.take(s.T * QUERIES);
  float *sums = room.take(QUERIES), *inner = room.take(QUERIES);
  const float *k = q + s.C, *v = q + 2 * s.C;
  const Rows q_rows(s, q, s.row, room), k_rows(s, k, s.row, room), dy_rows(s, dy, s.C, room);
  const Written dq_rows(s, dq, s.row, s.T, room);
  const Written dk(s, dq + s.C, s.row, s.T, room), dv(s, dq + 2 * s.C, s.row, s.T, room);
  for (long first = 0; first < s.T; first += QUERIES) {
    const long n = least(QUERIES, s.T - first), seen = first + n, width = rounded_up(n);
    turn(q_rows.from(first), q_rows.row, n, s.Dp, s.scale, columns, width);
    turn(dy_rows.from(first), dy_rows.row, n, s.Dp, 1, dcolumns, width);
    product(seen, width, s.D, k, s.row, 1, columns, width, scores, width, false);
    product(seen, width, s.D, v, s.row, 1, dcolumns, width, gradients, width, false);
    for (long i = 0; i < width; i++) {
      const long t = first + i;
      sums[i] = i < n ? log_sums[t] : 0;
      inner[i] = i < n ? inner_product(y + t * s.C, dy + t * s.C, s.D) : 0;
    }
    raise_backward(scores, gradients, first, seen, width, sums, inner, s.scale);
    product(n, s.Dp, seen, gradients, 1, width, k_rows.at, k_rows.row, dq_rows.from(first), dq_rows.row, false);
    // Keys that were met before have sums already.
    for (long from = 0, to = first; from < seen; from = to, to = seen) {
      const bool add = from < first;
      const long at = from * width, keys = to - from;
      product(keys, s.Dp, n, gradients + at, width, 1, q_rows.from(first), q_rows.row, dk.from(from), dk.row, add);
      product(keys, s.Dp, n, scores + at, width, 1, dy_rows.from(first), dy_rows.row, dv.from(from), dv.row, add);
    }
  }
  for (const Written& each : {dq_rows, dk, dv}) each.finish(s, s.T);
}

}  // namespace
extern "C" {

// qkv (B, T, 3, H, D) -> y (B, T, H, D), log_sums (B, H, T)
void causal_attention(const float* qkv, float* y, float* log_sums, long B, long T, long H, long D, int threads) {
  const Shape shape(T, H, D);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (long head = 0; head < B * H; head++) {
    const long b = head / H, h = head % H;
    head_forward(shape, qkv + b * T * shape.row + h * D, y + b * T * shape.C + h * D, log_sums + head * T);
  }
}

// dy (B, T, H, D) -> dqkv (B, T, 3, H, D)
void causal_attention_backward(const float* qkv, const float* y, const float* log_sums, const float* dy,
                               float* dqkv, long B, long T, long H, long D, int threads) {
  const Shape shape(T, H, D);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (long head = 0; head < B * H; head++) {
    const long b = head / H, h = head % H, inside = b * T * shape.row + h * D, out = b * T * shape.C + h * D;
    head_backward(shape, qkv + inside, y + out, log_sums + head * T, dy + out, dqkv + inside);
  }
}
}
