// Arguments and launchers of GELU, quantisation and 8-bit products (kernels/op/launch.h has the rules).
#pragma once

#include "kernels/op/launch.h"

namespace wan::kernels {

/// x = gelu_tanh(x + bias) in place; bias may be null.
struct BiasGeluArguments {
  void* x;           // [rows, channels] of `element`
  const void* bias;  // [channels] of `element`, or null
  int64_t rows;
  int channels;
};
cudaError_t launch_bias_gelu(const BiasGeluArguments& arguments, Element element, cudaStream_t stream);

/// Rows rotated (hadamard.h, by the order of their width) and quantised with one scale each.
struct QuantiseRowsArguments {
  const void* x;  // [rows, channels] of `element`
  int8_t* codes;  // [rows, channels]
  float* scale;   // [rows]
  int64_t rows;   // at most 2^31 - 1
  int channels;   // a multiple of 128, at most kMaxRowChannels
};
cudaError_t launch_quantise_rows(const QuantiseRowsArguments& arguments, Element element, cudaStream_t stream);

/// y = (x w^T) * x_scale * weight_scale + bias from 8-bit operands; then out = gelu_tanh(y) or y, or, where `residual`
/// is given, residual += gate * y in float32.
struct Int8LinearArguments {
  const int8_t* x;            // [rows, depth]
  const float* x_scale;       // [rows]
  const int8_t* weight;       // [channels, depth]
  const float* weight_scale;  // [channels]
  const float* bias;          // [channels], or null
  void* out;                  // [rows, channels] of `element`; not used with a residual
  float* residual;            // [rows, channels], or null
  const float* gate;          // [segments, channels], or null: 1
  int rows, channels, depth;  // channels even, depth a multiple of 128
  int tokens;                 // rows of one batch element: `segments` begin anew behind them
  SegmentEnds segments;
  bool gelu;
};
/// `element` is BFloat16 or Half. mma.sync, sm_80 and newer.
cudaError_t launch_int8_linear(const Int8LinearArguments& arguments, Element element, cudaStream_t stream);
/// The same with wgmma, compiled for sm_90a alone.
cudaError_t launch_int8_linear_sm90(const Int8LinearArguments& arguments, Element element, cudaStream_t stream);
/// The same, one warpgroup multiplying while another writes what it has: for measurements.
cudaError_t launch_int8_linear_sm90_in_turns(const Int8LinearArguments& arguments, Element element,
                                             cudaStream_t stream);

}  // namespace wan::kernels
