// The tree of a checkpoint's names, from which a network takes its weights; tracks which names were used, missing or
// left over.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights/checkpoint.h"
#include "models/weights/place.h"
#include "models/weights/weight.h"
#include "models/weights/weight_files.h"

namespace wan {

/// Makes up a weight of `shape`: the size of a real network without its file, for benchmarks and tests.
using Draw = std::function<at::Tensor(at::IntArrayRef shape, Role role)>;

class Weights;

/// A place in the tree of names: `scope / "blocks" / 3 / "self_attn"`.
class Scope {
 public:
  Scope operator/(std::string_view segment) const;
  Scope operator/(int64_t index) const;
  /// Takes `<path>.<leaf>`. What is copied is read past the mapping (WeightFiles). Where it is missing or of another shape this is noted for `Weights::finish` and an empty
  /// weight comes back, so that one error can list all. Taking a name twice is std::logic_error.
  Weight take(std::string_view leaf, at::IntArrayRef shape, Role role, const Making& making = {}) const;
  /// The same for one weight that is made of several tensors `<path>.<part>`: joined by rows, or by `making.prepare`.
  Weight take(std::vector<Part> parts, Role role, const Making& making = {}) const;
  /// Whether `<path>.<leaf>` exists.
  bool has(std::string_view leaf) const;
  /// The stored shape of `<path>.<leaf>`; empty where it is absent. For sizes that no config states.
  std::vector<int64_t> shape(std::string_view leaf) const;
  const std::string& path() const { return path_; }
  /// Of the network that is being built.
  const Place& place() const;
  Precision precision() const { return place().precision; }

 private:
  friend class Weights;
  Scope(Weights* weights, std::string path) : weights_(weights), path_(std::move(path)) {}
  Weights* weights_;
  std::string path_;
};

/// What a network is built from: tracks which names of its checkpoint were used, missing or of another shape.
class Weights {
 public:
  explicit Weights(Checkpoint checkpoint, const Place& place = {});
  /// Without a file: whatever is taken is drawn. `shapes` answers `Scope::has` and `Scope::shape`, for networks that
  /// read sizes off their file.
  explicit Weights(Draw draw, const Place& place = {}, Checkpoint shapes = {});
  Weights(const Weights&) = delete;
  Scope root() { return Scope(this, ""); }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  std::vector<std::string> unused() const;
  /// Counts the names that begin with `prefix` as used: tensors that this use of the network is known not to need.
  void ignore(std::string_view prefix);
  /// Weights whose names begin with `prefix` are only planned from now on (Place::planned), whatever the place: who fills
  /// memory for them later gives it to them (StreamedBlocks). Nothing of them is read.
  void plan(std::string prefix) { planned_.push_back(std::move(prefix)); }
  const Place& place() const { return place_; }
  /// Asked before each weight is taken, and while its file is read (WeightFiles::ask); it may throw to stop.
  void ask(std::function<void()> check);
  /// The checkpoint's files, open, where weights are copied from them; else null.
  const std::shared_ptr<WeightFiles>& files() const { return files_; }
  /// Throws one ModelError that lists what is missing, wrongly shaped and unused (each list cut after ten names, with
  /// its length). Call it once the network is built.
  void finish() const;

  /// All weights that were taken, in order: handles to those of the network.
  const std::vector<Weight>& taken() const { return taken_; }
  /// Those whose names begin with `prefix`, e.g. "blocks.0.", for refilling them.
  std::vector<Weight> taken(std::string_view prefix) const;

 private:
  friend class Scope;
  Weight take(std::vector<Part> parts, Role role, const Making& making);
  /// The tensor of the checkpoint, mapped; nothing, and noted, where it is not what the part wants.
  std::optional<StoredPart> find(const Part& part);
  bool is_planned(const std::string& name) const;

  Checkpoint checkpoint_;
  Place place_;
  Draw draw_;  // empty where there is a checkpoint
  std::set<std::string> used_;
  std::vector<std::string> missing_, misshapen_;
  std::vector<Weight> taken_;
  std::vector<std::string> planned_;
  std::shared_ptr<WeightFiles> files_;
  std::function<void()> check_;
};

}  // namespace wan
