// The blocks and the encoder of RIFE. Source: IFBlock and Head, IFNet_HDv3.py of Practical-RIFE.
#pragma once

#include <vector>

#include "models/rife/layers.h"
#include "models/rife/version.h"

namespace wan::rife {

/// One stage: from two frames, time and what earlier stages found to a change of flow, a mask, and what is carried on.
struct Block {
  Block(const Scope& at, const Architecture& architecture, size_t number, at::ScalarType dtype);
  /// x [1, H, W, inputs(number)], H and W multiples of 4 -> [H', W', outputs(number)], where H' is H, or H / 2 without
  /// a pixel shuffle. Lets go of x once it is seen.
  Tensor operator()(Picture x) const;

 private:
  Tensor features(Picture x) const;
  kernels::ConvolutionFinish activation(size_t layer) const;

  int64_t width_, outputs_;
  bool shuffles_;
  std::vector<Convolution> conv0_, convblock_;
  std::vector<Weight> slopes_;  // of the activations of all convolutions in order, where they are learned
  Deconvolution lastconv_;
};

/// Features of one frame.
struct Encoder {
  Encoder(const Scope& at, const Architecture& architecture, at::ScalarType dtype);
  /// x [1, H, W, 3] -> into `features` [H, W, F], of any strides.
  void operator()(const Picture& x, const Tensor& features) const;

 private:
  bool activates_;
  std::vector<Convolution> convolutions_;
  Deconvolution last_;
};

}  // namespace wan::rife
