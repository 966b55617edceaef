// The loss of the next token from hidden states and the matrix of ids, and the gradients of both.

#include "products.h"

namespace {

constexpr long IDS = 192;  // that many rows of a narrow matrix stay in the level-1 cache
constexpr long PART = 32;  // rows that one thread takes at a time

// Rows of hidden states at a time: more, and each pass over the matrix of ids serves more of them; fewer, and
// their logits stay in cache.
inline long head_rows(long C) { return C <= 48 ? 32 : C <= 96 ? 64 : 128; }

// Replace logits (V) by e^(logit - most) and return their sum; `most` is their largest if `shift`, else 0.
float raise(float* logits, long V, bool shift, float* most) {
  const long width = rounded_up(V);
  for (long v = V; v < width; v++) logits[v] = -INFINITY;
  if (shift) {
    Vector top = load(logits);
    for (long v = LANES; v < width; v += LANES) top = load(logits + v) > top ? load(logits + v) : top;
    *most = largest(top);
  }
  Vector totals{};
  for (long v = 0; v < width; v += LANES) {
    const Vector raised = exponential(load(logits + v) - *most);
    store(logits + v, raised);
    totals += raised;
  }
  return sum(totals);
}

// One row: its loss, its logits (V) made the undivided gradient, and x (C) divided by their total, also returned.
float differentiate(const float* x, long target, float* logits, float* scaled, float* loss, long V, long C, long Cp,
                    bool shift) {
  const bool counts = target >= 0;
  const float wanted = counts ? logits[target] : 0;
  float most = 0;
  const float total = raise(logits, V, shift, &most);
  *loss = counts ? most + logf(total) - wanted : 0;
  if (counts) logits[target] -= total;
  const float divisor = counts ? total : INFINITY;
  for (long c = 0; c < C; c++) scaled[c] = x[c] / divisor;
  for (long c = C; c < Cp; c++) scaled[c] = 0;
  return divisor;
}

}  // namespace

extern "C" {

// Cross-entropy of hidden (N, C) @ weight' (C, V), and what it wants of both factors, a chunk of rows at a time.
//
// losses (N) are 0 where a target is negative. The gradient of a row's logits is softmax less the target's one;
// it is kept undivided, e^logit, and the row's total divides where rows are short: in the hidden states. With
// `shift` a row's largest logit is taken off before; without it no logit may leave the exponentials' bounds.
// Without gradients (dhidden null) only losses are made.
void cross_entropy(const float* hidden, const float* weight, const int64_t* targets, float* losses, float* dhidden,
                   float* dweight, long N, long V, long C, int shift, int threads) {
  const long Vp = off_pages(V), Cp = rounded_up(C), rows = head_rows(C);
  const bool whole = C == Cp;  // then the matrix and its gradient need no copies with wider rows
  Room room(C * Vp + rows * (Vp + 2 * Cp) + rows + (whole ? 0 : 2 * V * Cp));
  float *columns = room.take(C * Vp), *chunk = room.take(rows * Vp);
  float *scaled = room.take(rows * Cp), *part = room.take(rows * Cp), *totals = room.take(rows);
  const float* ids = whole ? weight : room.take(V * Cp);
  float* sums = whole ? dweight : room.take(V * Cp);
  turn(weight, C, V, C, 1, columns, Vp);
  if (!whole) copy(weight, C, V, C, const_cast<float*>(ids), Cp);
  for (long first = 0; first < N; first += rows) {
    const long n = least(rows, N - first);
    const float* x = hidden + first * C;
#pragma omp parallel for num_threads(threads)
    for (long v = 0; v < V; v += IDS)
      product(n, rounded_up(least(IDS, V - v)), C, x, C, 1, columns + v, Vp, chunk + v, Vp, false);
#pragma omp parallel for num_threads(threads)
    for (long i = 0; i < n; i++)
      totals[i] = differentiate(x + i * C, targets[first + i], chunk + i * Vp, scaled + i * Cp, losses + first + i,
                                V, C, Cp, shift);
    if (!dhidden) continue;
#pragma omp parallel for num_threads(threads)
    for (long i = 0; i < n; i += PART) {
      const long m = least(PART, n - i);
      for (long v = 0; v < V; v += IDS)
        product(m, Cp, least(IDS, V - v), chunk + i * Vp + v, Vp, 1, ids + v * Cp, Cp, part + i * Cp, Cp, v > 0);
      for (long j = i; j < i + m; j++)
        for (long c = 0; c < C; c++) dhidden[(first + j) * C + c] = part[j * Cp + c] / totals[j];
    }
#pragma omp parallel for num_threads(threads)
    for (long v = 0; v < V; v += IDS)
      product(least(IDS, V - v), Cp, n, chunk + v, 1, Vp, scaled, Cp, sums + v * Cp, Cp, first > 0);
  }
  if (dhidden && !whole) copy_back(sums, Cp, V, C, dweight, C);
}
}
