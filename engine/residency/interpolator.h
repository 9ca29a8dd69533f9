// A network that draws frames between two, whichever it is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace wan {

class Interpolator {
 public:
  /// What is computed once of a frame and serves both its pairs.
  struct Frame {
    Frame() = default;
    Frame(const Frame&) = delete;
    virtual ~Frame() = default;
  };

  virtual ~Interpolator() = default;

  /// Where it computes, and in which type.
  virtual at::Device device() const = 0;
  virtual at::ScalarType dtype() const = 0;

  /// rgb [1, 3, H, W] in [0, 1], on its device and of its type; sides of any size from 16 on. May be called by one thread
  /// at a time, as between(). Throws c10::Error.
  virtual std::shared_ptr<const Frame> frame(const at::Tensor& rgb) const = 0;
  /// The picture at `time`, above 0 and below 1, from the first to the second frame, which are of this interpolator and of
  /// one size: [1, 3, H, W] in [0, 1], as frame() takes it.
  virtual at::Tensor between(const Frame& first, const Frame& second, double time) const = 0;
};

}  // namespace wan
