// The tree of a checkpoint's names, from which a network takes its weights; tracks which names were used, missing or
// left over.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights/checkpoint.h"
#include "models/weights/precision.h"

namespace wan {

/// What a weight is used for, which decides the precision that residency gives it.
enum class Role {
  Matmul,   // the reference autocasts it: bf16 on CUDA
  Block,    // the same inside a transformer block, where nearly all the work is: 8 bits in the lower precisions
  Float32,  // stays float32: time embedding and projection, modulation, norms, head, VAE
  Table,    // looked up by row (token embedding): stays as stored, where it is stored
};

/// Puts a mapped tensor where residency wants it and returns what the layer keeps.
using Place = std::function<at::Tensor(const at::Tensor& mapped, Role role)>;
/// Keeps the mapping itself: the CPU path. Layers convert at use.
at::Tensor keep_mapped(const at::Tensor& mapped, Role role);

/// Makes up a weight of `shape`: the size of a real network without its file, for benchmarks and tests.
using Draw = std::function<at::Tensor(at::IntArrayRef shape, Role role)>;

class Weights;

/// A place in the tree of names: `scope / "blocks" / 3 / "self_attn"`.
class Scope {
 public:
  Scope operator/(std::string_view segment) const;
  Scope operator/(int64_t index) const;
  /// Takes `<path>.<leaf>` and crosses it off. Where it is missing or of another shape this is noted for
  /// `Weights::finish` and an undefined tensor comes back, so that one error can list all. Taking a name twice is
  /// std::logic_error.
  at::Tensor take(std::string_view leaf, at::IntArrayRef shape, Role role) const;
  /// Whether `<path>.<leaf>` exists.
  bool has(std::string_view leaf) const;
  /// The stored shape of `<path>.<leaf>`; empty where it is absent. For sizes that no config states.
  std::vector<int64_t> shape(std::string_view leaf) const;
  const std::string& path() const { return path_; }
  /// Of the network that is being built.
  Precision precision() const;

 private:
  friend class Weights;
  Scope(Weights* book, std::string path) : book_(book), path_(std::move(path)) {}
  Weights* book_;
  std::string path_;
};

/// The book of a checkpoint while a network is built from it: which names were used, missing, wrongly shaped.
class Weights {
 public:
  explicit Weights(Checkpoint checkpoint, Place place = keep_mapped, Precision precision = Precision::Exact);
  /// A book without a file: whatever is taken is drawn. `shapes` answers `Scope::has` and `Scope::shape`, for networks
  /// that read sizes off their file.
  explicit Weights(Draw draw, Checkpoint shapes = {}, Precision precision = Precision::Exact);
  Weights(const Weights&) = delete;
  Scope root() { return Scope(this, ""); }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  std::vector<std::string> unused() const;
  /// Crosses off the names that begin with `prefix`: tensors that this use of the network is known not to need.
  void ignore(std::string_view prefix);
  /// Throws one ModelError that lists what is missing, wrongly shaped and unused (each list cut after ten names, with
  /// its length). Call it once the network is built.
  void finish() const;

 private:
  friend class Scope;
  Checkpoint checkpoint_;
  Place place_;
  Draw draw_;  // empty where there is a checkpoint
  Precision precision_;
  std::set<std::string> used_;
  std::vector<std::string> missing_, misshapen_;
};

}  // namespace wan
