// What a card would do: the operations of a network on shapes alone, with their arithmetic and the bytes that they move.
#pragma once

#include <cstdint>
#include <functional>

namespace wan::bench {

struct CountedWork {
  double flops = 0;        // multiplications and additions of convolutions and products of matrices
  double bytes = 0;        // of all operations: each reads its inputs and writes its results once
  int64_t operations = 0;  // that move bytes: a card starts one kernel for each at least

  CountedWork operator+(const CountedWork& other) const;
  CountedWork operator*(double times) const;
};

/// Counts ATen's operations that `work` calls in this thread, those that others are made of with them. Views cost nothing,
/// a lookup by rows (index_select) reads what it gives. On the meta device nothing is computed; those operations that have
/// no form there and that FILM and RIFE call are given one by this file.
CountedWork counted_work(const std::function<void()>& work);

}  // namespace wan::bench
