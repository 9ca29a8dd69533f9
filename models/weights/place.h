// The one place that decides where a weight lies and in which form: kept as the mapped tensor of its file or copied to a
// device, in some dtype or in codes.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "kernels/op/context.h"
#include "models/weights/kept.h"
#include "models/weights/precision.h"
#include "models/weights/stored_part.h"

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
                  std::shared_ptr<const kernels::Context> context = nullptr, Kept kept = Kept::Stored);
  /// The same decisions on shapes alone: copies lie on the meta device and nothing is read, so that a network can be
  /// built before there is room for it, and its bytes added up.
  Place planned() const;
  /// Whether linears of one input become one matrix. Mapped ones stay apart: joining them would copy the file into
  /// memory.
  bool joins_rows() const { return !mapped && !as_mapped; }

  at::Device device = at::kCPU;
  at::ScalarType compute = at::kFloat;  // of copies with the roles Matmul and Block
  Precision precision = Precision::Exact;
  bool mapped = true;    // weights stay the mapped tensors and layers convert at use; else each is copied once
  bool on_meta = false;  // see planned()
  /// What operations with these weights take as their last argument (Weight::context). Null: default_context().
  std::shared_ptr<const kernels::Context> context = nullptr;
  Kept kept = Kept::Stored;
  /// Copies keep the forms in which mapped weights are multiplied, so that both give the same bytes: the CPU with a limit
  /// of memory (--device-memory). No rows are joined, no strides are changed, 8-bit rows are made from all bits.
  bool as_mapped = false;
};

/// The codes of a weight.
enum class Codes {
  None,      // values in a float dtype
  Int8,      // 8-bit rows that are multiplied as such (kernels/linear/int8.h): the lower precisions
  Stored,    // those of the file, widened at each use
  Fp8,       // rows in E4M3 (models/weights/encode.h), widened at each use
  Int8Kept,  // rows in int8, widened at each use
};

/// Where a weight lies.
enum class Residence {
  Mapped,     // as the tensor of the file
  MadeAtUse,  // as the tensor of the file, of which each product makes a copy: that of a whole checkpoint has no room
  Copied,     // in memory of its device
};

/// How one weight lies. Of a mapped one the rest says nothing but the codes.
struct Form {
  Residence residence;
  Codes codes;
  at::Device device;        // of the copy; meta where it is only planned
  at::ScalarType uploaded;  // to which the copy is converted on its way
  at::ScalarType dtype;     // in which it is kept, or from which its 8-bit rows are made; codes are made from float32

  bool operator==(const Form&) const = default;
};

/// The form of a weight of this role that the file has as `stored`, one for each part.
///   linear: it is only multiplied (product, add_product) or looked up by row, so that it may lie in codes.
///   own: the dtype that the network keeps copies in where it has one of its own (the VAE).
/// A matrix that the file codes keeps its codes where it may, whatever else its parts are. What may not is widened: on the
/// CPU, too, into memory of its own, as are floats of 8 bits, which few operations take (biases, norms, modulation).
/// Fp8 and Int8 leave matrices of the file's codes alone that are of such bits already.
Form form_of(const Place& place, Role role, const std::vector<StoredPart>& stored, bool linear,
             std::optional<at::ScalarType> own = {});

}  // namespace wan
