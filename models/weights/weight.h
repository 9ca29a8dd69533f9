// A weight of a layer: which tensors of the checkpoint it was taken as, how it lies, and filling it with other values
// in place.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights/checkpoint.h"
#include "models/weights/place.h"
#include "models/weights/stored_part.h"
#include "models/weights/weight_storage.h"

namespace wan {

namespace lora {
struct Branch;
}

/// A tensor of a checkpoint: its name, whole or under a Scope, and the shape that it must have.
struct Part {
  std::string name;
  std::vector<int64_t> shape;
};

/// What a layer makes of the tensors that it takes, at first and at each refill. The default joins them by rows.
struct Making {
  /// The dtype of copies, where the network has one of its own. Mapped tensors stay as they are stored.
  std::optional<at::ScalarType> dtype = {};
  /// The weight from its parts, which are mapped or copied; it may return a view of one.
  std::function<Tensor(const std::vector<Tensor>& parts)> prepare = {};
  /// The strides in which a copy is kept: those that its kernel reads. Applied after `prepare`, not to mapped tensors.
  std::function<Tensor(const Tensor& copy)> layout = {};
  /// It is only multiplied (product, add_product) or looked up (look_up), so that it may lie in codes.
  bool linear = false;
};

/// A handle to one weight, which its copies share; a default one is empty (a linear without bias, a missing tensor).
class Weight {
 public:
  Weight() = default;
  /// Takes `stored`, one tensor for each part, in the form that `place` decides. Reads nothing where it is planned.
  /// Throws std::logic_error for several mapped parts that are to be joined, and for codes of a weight that is prepared.
  Weight(std::vector<Part> parts, Role role, Making making, const Place& place, const std::vector<StoredPart>& stored);

  bool defined() const { return state_ != nullptr; }
  /// What it was taken as: the whole names. A refill with other names does not change them.
  const std::vector<Part>& parts() const { return state().parts; }
  Role role() const { return state().role; }
  /// Of its Place.
  Precision precision() const { return state().place.precision; }

  /// As its layer sees it, whatever the storage.
  at::IntArrayRef shape() const { return state().shape; }
  int64_t size(int64_t axis) const { return shape().at(size_t(axis)); }
  at::Device device() const { return stored_tensor(storage()).device(); }
  /// Of what is stored: a float dtype, or that of the codes; of several parts the first's.
  at::ScalarType dtype() const { return stored_tensor(storage()).scalar_type(); }
  /// Whether it is multiplied in 8-bit codes, so that what it multiplies may come in codes. False for an empty one, and
  /// beside a branch, which takes rows.
  bool takes_codes() const;
  /// The float values; undefined for an empty weight. Throws c10::Error where it lies in codes or is made at use.
  const Tensor& tensor() const;
  const Storage& storage() const { return state().storage; }
  /// What operations with it take as their last argument: the Context of its Place. That of an empty weight is
  /// default_context().
  const kernels::Context& context() const;
  /// What it takes on its device; 0 for a mapped tensor and for an empty weight.
  uint64_t bytes() const;

  /// Fills it with other values of the same shapes, one tensor for each part, as if it were taken anew. Memory of its own
  /// keeps its addresses where the form is the same: always for floats, for 8-bit rows and for codes that are made; for
  /// those of files, part by part, where the coding is equal. Else (a few layers of Q4_K_M) that part gets memory of its
  /// own size in place of the old, and bytes() changes: who plans slots for blocks takes the largest. A mapped weight
  /// becomes the other mapping. Whoever computes with it meanwhile sees a mixture. Throws c10::Error for other shapes.
  void refill(const std::vector<StoredPart>& stored);
  /// The same from tensors of `from` by their names. Throws ModelError, before anything is written, where one is
  /// missing, has another shape, holds no floats or has scales that are not finite.
  void refill(const Checkpoint& from, const std::vector<std::string>& names);

  /// Prepares a weight that was only planned (Weights::plan) for memory that others own and fill. Its tensors() are then
  /// what the memory must be like. Returns what fills it; nothing is read yet. Throws std::logic_error for a weight that
  /// is prepared or has a dtype of its own.
  std::vector<HostPart> host_parts(const std::vector<StoredPart>& stored);
  /// Whether it is only multiplied or looked up (Making::linear): then what a LoRA changes of it is a branch beside its
  /// products, else values in place of its own.
  bool is_linear() const { return state().making.linear; }
  /// What its products are computed in: that of its Place, and at least float32 for Role::Float32.
  at::ScalarType compute() const;
  /// Where it computes, also while it is only planned.
  at::Device place_device() const { return state().place.device; }
  /// Of a linear: added to its products from now on; null takes it away. What it lies in, and bytes(), stay as they are.
  void set_branch(std::shared_ptr<const lora::Branch> branch) { state_->branch = std::move(branch); }
  /// Null: none.
  const lora::Branch* branch() const { return state_ ? state_->branch.get() : nullptr; }
  /// Of any other: these values, one tensor for each part, are what tensor() gives from now on, in the form of a copy; an
  /// empty list gives its own again, which stay as they are. Throws c10::Error for other shapes.
  void set_values(const std::vector<Tensor>& values);
  /// Of set_values, on its device.
  uint64_t set_bytes() const { return state_ && state_->set.defined() ? state_->set.nbytes() : 0; }

  /// Every tensor that it lies in, on meta where it is planned; none for an empty weight.
  std::vector<Tensor> tensors() const;
  /// Lies in these from now on: one for each of tensors(), alike in shape and dtype. They are not written.
  void lie_in(std::span<const Tensor> memory);

 private:
  struct State {
    std::vector<Part> parts;
    Role role;
    Making making;
    Place place;
    std::vector<int64_t> shape;
    Form form;
    Storage storage;
    std::shared_ptr<const lora::Branch> branch = nullptr;
    Tensor set = {};  // in place of the storage's values; undefined: those
  };
  const State& state() const;
  void check_shapes(const std::vector<StoredPart>& stored) const;

  std::shared_ptr<State> state_;
};

/// Refills weights with those of another part of the network, e.g. block 7 into the memory of block 0: in each name
/// `prefix` becomes `other`. Roles stay: where two blocks give one name different ones (query_role, in a lower
/// precision), each needs memory of its own. Throws as Weight::refill, before anything is written, and std::logic_error
/// for a weight whose names do not begin with `prefix`.
void refill(std::span<Weight> weights, const Checkpoint& from, std::string_view prefix, std::string_view other);

/// What weights take on their devices together.
uint64_t bytes_of(std::span<const Weight> weights);

/// "must be [2, 3], is [3, 2]" or "must hold floats, holds I64"; empty where a tensor is what a part wants.
std::string misfit(const StoredTensor& stored, at::IntArrayRef shape);

}  // namespace wan
