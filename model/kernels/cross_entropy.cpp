// The loss of the next token from hidden states and the matrix of ids, and the gradients of both.

#include "products.h"

namespace {

constexpr long IDS = 192;  // ids at a time: their rows and their logits stay in cache between the products
// Rows of hidden states at a time: more, and each pass over the matrix of ids serves more of them; fewer, and
// their logits stay in cache. One thread has at least LEAST_ROWS of them.
constexpr long ROWS = 96, LEAST_ROWS = 32;

struct Vocabulary {
  long V, C, Cp;     // ids, width, and the width rounded up to LANES
  const float *ids;  // the matrix (V, Cp)
};

// The rows that one thread works on. Logits lie turned, one row an id, so that all products run along rows.
struct Part {
  long first, n, width;                 // its first row, how many it has, and that rounded up to LANES
  float *columns, *logits;              // (C, width) and (V, width)
  float *scaled, *sums;                 // (n, Cp): hidden states over totals, and what their gradients are made of
  float *totals, *most;                 // (width)
};

long floats_of_part(const Vocabulary& s, long rows) { return rows * (s.C + s.V + 2 * s.Cp + 2); }

Part part_in(float* room, const Vocabulary& s, long rows) {
  Part p{};
  p.columns = room, p.logits = p.columns + s.C * rows, p.scaled = p.logits + s.V * rows;
  p.sums = p.scaled + s.Cp * rows, p.totals = p.sums + s.Cp * rows, p.most = p.totals + rows;
  return p;
}

void largest_of(const Part& p, long v, long m) {
  for (const float* row = p.logits + v * p.width; m--; row += p.width)
    for (long i = 0; i < p.width; i += LANES)
      store(p.most + i, load(row + i) > load(p.most + i) ? load(row + i) : load(p.most + i));
}

// Replace logits of ids v to v + m by e^(logit - most), add them to the totals, and them times their ids to the sums.
void raise(const Vocabulary& s, const Part& p, long v, long m, bool summed) {
  float* logits = p.logits + v * p.width;
  for (float* row = logits; row < logits + m * p.width; row += p.width)
    for (long i = 0; i < p.width; i += LANES) {
      const Vector raised = exponential(load(row + i) - load(p.most + i));
      store(row + i, raised);
      store(p.totals + i, load(p.totals + i) + raised);
    }
  if (summed) product(p.n, s.Cp, m, logits, 1, p.width, s.ids + v * s.Cp, s.Cp, p.sums, s.Cp, v > 0);
}

// Make a part's exponentials, their totals, and unless `dhidden` is null the sums that its gradients are made of.
void make_exponentials(const Vocabulary& s, const Part& p, const float* hidden, bool shift, bool summed) {
  turn(hidden + p.first * s.C, s.C, p.n, s.C, 1, p.columns, p.width);
  for (long i = 0; i < p.width; i++) p.totals[i] = 0, p.most[i] = shift ? -INFINITY : 0;
  for (long v = 0; v < s.V; v += IDS) {
    const long m = least(IDS, s.V - v);
    product(m, p.width, s.C, s.ids + v * s.Cp, s.Cp, 1, p.columns, p.width, p.logits + v * p.width, p.width, false);
    shift ? largest_of(p, v, m) : raise(s, p, v, m, summed);
  }
  for (long v = 0; shift && v < s.V; v += IDS) raise(s, p, v, least(IDS, s.V - v), summed);
}

// One row: its loss, its hidden states over its total, what its target wants of its logits, and its gradient.
void differentiate(const Vocabulary& s, const Part& p, long i, const float* x, long target, float* loss, float* dx) {
  const bool counts = target >= 0;
  const float* wanted = s.ids + (counts ? target : 0) * s.Cp;
  const float total = counts ? p.totals[i] : INFINITY;
  *loss = counts ? p.most[i] + logf(total) - inner_product(x, wanted, s.C) : 0;
  if (!dx) return;
  if (counts) p.logits[target * p.width + i] -= total;
  for (long c = 0; c < s.Cp; c++) p.scaled[i * s.Cp + c] = c < s.C ? x[c] / total : 0;
  for (long c = 0; c < s.C; c++) dx[c] = p.sums[i * s.Cp + c] / total - (counts ? wanted[c] : 0);
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
  const long Cp = rounded_up(C), rows = rounded_up(ROWS / threads > LEAST_ROWS ? ROWS / threads : LEAST_ROWS);
  const bool whole = C == Cp;  // then the matrix and its gradient need no copies with wider rows
  Vocabulary s{V, C, Cp, weight};
  const long each = floats_of_part(s, rows);
  Room room(threads * each + (whole ? 0 : 2 * V * Cp));
  float* parts_room = room.take(threads * each);
  float* sums = whole ? dweight : room.take(V * Cp);
  if (!whole) {
    float* wider = room.take(V * Cp);
    copy(weight, C, V, C, wider, Cp);
    s.ids = wider;
  }
  for (long first = 0; first < N; first += threads * rows) {
    const long parts = least(threads, (N - first + rows - 1) / rows);
#pragma omp parallel for num_threads(threads)
    for (long k = 0; k < parts; k++) {
      Part p = part_in(parts_room + k * each, s, rows);
      p.first = first + k * rows, p.n = least(rows, N - p.first), p.width = rounded_up(p.n);
      make_exponentials(s, p, hidden, shift, dhidden);
      for (long i = 0, row = p.first; i < p.n; i++, row++)
        differentiate(s, p, i, hidden + row * C, targets[row], losses + row, dhidden ? dhidden + row * C : nullptr);
    }
    if (!dhidden) continue;
#pragma omp parallel for num_threads(threads)
    for (long v = 0; v < V; v += IDS)
      for (long k = 0; k < parts; k++) {
        const Part p = part_in(parts_room + k * each, s, rows);
        const long n = least(rows, N - first - k * rows), width = rounded_up(n);
        product(least(IDS, V - v), Cp, n, p.logits + v * width, width, 1, p.scaled, Cp, sums + v * Cp, Cp,
                first + k > 0);
      }
  }
  if (dhidden && !whole) copy_back(sums, Cp, V, C, dweight, C);
}
}
