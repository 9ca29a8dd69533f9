// What the 8-bit products of all architectures share: the order of their tiles and what follows the integer sums.
#pragma once

#include <type_traits>

#include "kernels/linear/launch.h"
#include "kernels/op/activation.cuh"
#include "kernels/op/fragments.h"
#include "kernels/simt/dispatch.h"

namespace wan::kernels::int8_linear {

/// Row tiles that pass before the next column tile: the blocks in flight then form a square of tiles, whose operands
/// stay in L2 (one row of 591 tiles would read x anew for every column tile).
constexpr int kBand = 16;

/// The row and column tile of block `index` of rows * columns: bands of kBand row tiles, down the columns of a band.
WAN_HOST_DEVICE fragments::Place tile_of(int index, int rows, int columns) {
  const int band = index / (kBand * columns), first = band * kBand;
  const int height = rows - first < kBand ? rows - first : kBand;
  const int rest = index - first * columns;
  return {first + rest % height, rest / height};
}

/// The parameters of two neighbouring columns.
struct ColumnPair {
  float scale[2], bias[2];
};

WAN_DEVICE ColumnPair load_columns(const Int8LinearArguments& a, int column) {
  ColumnPair pair = {{0, 0}, {0, 0}};
  if (column < a.channels) {
    simt::load_floats(a.weight_scale + column, pair.scale);
    if (a.bias) simt::load_floats(a.bias + column, pair.bias);
  }
  return pair;
}

/// What follows the sums: a parameter of the kernels, so that no pair of sums meets a branch.
enum class Epilogue { Plain, Gelu, Residual, GatedResidual };

WAN_HOST_DEVICE bool is_residual(Epilogue epilogue) {
  return epilogue == Epilogue::Residual || epilogue == Epilogue::GatedResidual;
}

/// choose(Type<T>, constant of the epilogue) for what the arguments ask. A residual is float32 whatever the element.
template <typename Choose>
auto with_epilogue(const Int8LinearArguments& a, Element element, Choose choose) {
  using simt::Type;
  const auto with = [&](auto type) {
    return a.gelu ? choose(type, std::integral_constant<Epilogue, Epilogue::Gelu>{})
                  : choose(type, std::integral_constant<Epilogue, Epilogue::Plain>{});
  };
  if (a.residual && a.gate)
    return choose(Type<simt::bf16>{}, std::integral_constant<Epilogue, Epilogue::GatedResidual>{});
  if (a.residual) return choose(Type<simt::bf16>{}, std::integral_constant<Epilogue, Epilogue::Residual>{});
  return element == Element::Half ? with(Type<__half>{}) : with(Type<simt::bf16>{});
}

/// The parameters of one row.
struct RowFactors {
  bool inside;
  float scale;
  const float* gate;  // of the row's segment, or null
};

template <Epilogue kEpilogue>
WAN_DEVICE RowFactors load_row(const Int8LinearArguments& a, int row) {
  if (row >= a.rows) return {false, 0, nullptr};
  RowFactors factors = {true, a.x_scale[row], nullptr};
  if constexpr (kEpilogue == Epilogue::GatedResidual) {
    factors.gate = a.gate;
    const int token = row % a.tokens;
    WAN_UNROLL
    for (int i = 0; i < kMaxSegments - 1; ++i) {
      if (i < a.segments.count - 1 && token >= a.segments.ends[i]) factors.gate += a.channels;
    }
  }
  return factors;
}

/// From the sums at (row, column) and (row, column + 1) to memory; nothing where that is outside.
template <typename T, Epilogue kEpilogue>
WAN_DEVICE void write_pair(const Int8LinearArguments& a, int row, int column, const RowFactors& factors,
                           const ColumnPair& columns, int32_t sum0, int32_t sum1) {
  if (!factors.inside || column >= a.channels) return;
  const int64_t at = int64_t(row) * a.channels + column;
  float y[2] = {float(sum0), float(sum1)};
  WAN_UNROLL
  for (int i = 0; i < 2; ++i) y[i] = fmaf(y[i] * factors.scale, columns.scale[i], columns.bias[i]);
  if constexpr (is_residual(kEpilogue)) {
    float x[2], gate[2] = {1, 1};
    simt::load_floats(a.residual + at, x);
    if constexpr (kEpilogue == Epilogue::GatedResidual) simt::load_floats(factors.gate + column, gate);
    WAN_UNROLL
    for (int i = 0; i < 2; ++i) x[i] = fmaf(gate[i], y[i], x[i]);
    simt::store_floats(a.residual + at, x);
  } else {
    if constexpr (kEpilogue == Epilogue::Gelu) {
      WAN_UNROLL
      for (int i = 0; i < 2; ++i) y[i] = gelu_tanh(y[i]);
    }
    simt::store_floats(static_cast<T*>(a.out) + at, y);
  }
}

}  // namespace wan::kernels::int8_linear
