// The one place that decides where a weight lies and in which form: kept as the mapped tensor of its file, copied to a
// device in some dtype, or coded in 8 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "kernels/op/context.h"
#include "models/weights/precision.h"

namespace wan {

/// What a weight is used for.
enum class Role {
  Matmul,   // the reference autocasts it: bf16 on CUDA
  Block,    // the same inside a transformer block, where nearly all the work is: 8 bits in the lower precisions
  Float32,  // stays float32: time embedding and projection, modulation, norms, head, VAE
  Table,    // looked up by row (token embedding): stays as stored, where it is stored
};

/// Where the weights of one network lie and what it computes in. The default keeps the mapped files, for float32.
struct Place {
  /// Mapped files on the CPU, copies on any other device.
  static Place on(at::Device device, at::ScalarType compute, Precision precision = Precision::Exact,
                  std::shared_ptr<const kernels::Context> context = nullptr);
  /// The same decisions on shapes alone: copies lie on the meta device and nothing is read, so that a network can be
  /// built before there is room for it, and its bytes added up.
  Place planned() const;
  /// Whether linears of one input become one matrix. Mapped ones stay apart: joining them would copy the file into
  /// memory.
  bool joins_rows() const { return !mapped; }

  at::Device device = at::kCPU;
  at::ScalarType compute = at::kFloat;  // of copies with the roles Matmul and Block
  Precision precision = Precision::Exact;
  bool mapped = true;    // weights stay the mapped tensors and layers convert at use; else each is copied once
  bool on_meta = false;  // see planned()
  /// What operations with these weights take as their last argument (Weight::context). Null: default_context().
  std::shared_ptr<const kernels::Context> context = nullptr;
};

/// Codes that a weight is multiplied in.
enum class Codes { None, Int8 };

/// How one weight lies.
struct Form {
  bool mapped;              // stays the tensor of the file, whatever the rest says
  Codes codes;              // of a copy: made once; of a mapping: at each use
  at::Device device;        // of the copy; meta where it is only planned
  at::ScalarType uploaded;  // to which the copy is converted on its way
  at::ScalarType dtype;     // in which it is kept, or from which its codes are made
};

/// The form of a weight of this role and shape that the file stores as `stored`. `own` is the dtype that the network
/// keeps copies in where it has one of its own (the VAE).
Form form_of(const Place& place, Role role, at::IntArrayRef shape, at::ScalarType stored,
             std::optional<at::ScalarType> own = {});

}  // namespace wan
