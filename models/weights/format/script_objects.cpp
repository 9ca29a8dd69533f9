#include "models/weights/format/script_objects.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "models/files/error.h"
#include "models/files/utf8.h"

namespace wan {
namespace {

using Kind = PickleMachine::Kind;
using Value = PickleMachine::Value;

// Objects may be shared, so that a short file can hold any number of paths. FILM has 60 objects, 6 deep.
constexpr size_t kDeepest = 64;
constexpr size_t kMostAttributes = 50'000;
constexpr size_t kLongestPath = 512;

/// Walks over attributes with a bound on depth and number, whatever the graph is.
class Walk {
 public:
  explicit Walk(const PickleMachine& machine) : machine_(machine) {}

  void over(const Value& object, const std::string& path) {
    if (std::find(way_.begin(), way_.end(), &object) != way_.end())
      machine_.refuse("has a " + printable(object.text) + " that holds itself, at " + printable(path));
    if (way_.size() == kDeepest)
      machine_.refuse("must have objects at most " + std::to_string(kDeepest) + " deep, has deeper ones");
    if (object.items.empty()) machine_.refuse("has a " + printable(object.text) + " without attributes");
    way_.push_back(&object);
    const Value& attributes = machine_[object.items[0]];
    for (size_t i = 0; i + 1 < attributes.items.size(); i += 2)
      attribute(machine_[attributes.items[i]], machine_[attributes.items[i + 1]], path);
    way_.pop_back();
  }

  std::map<std::string, PickledTensor> take() { return std::move(tensors_); }

 private:
  void attribute(const Value& key, const Value& value, const std::string& path) {
    if (++attributes_ > kMostAttributes)
      machine_.refuse("must have at most " + std::to_string(kMostAttributes) + " attributes, has more");
    if (value.kind != Kind::Tensor && value.kind != Kind::Object) return;
    const std::string name = (path.empty() ? "" : path + ".") + tensor_name(machine_, key);
    if (name.size() > kLongestPath)
      machine_.refuse("must have names of at most " + std::to_string(kLongestPath) + " bytes, has a longer one");
    if (value.kind == Kind::Object) return over(value, name);
    if (!tensors_.emplace(name, machine_.tensors()[static_cast<size_t>(value.number)]).second)
      machine_.refuse("has the tensor " + printable(name) + " twice");
  }

  const PickleMachine& machine_;
  std::vector<const Value*> way_;  // from the outermost object to this one
  size_t attributes_ = 0;
  std::map<std::string, PickledTensor> tensors_;
};

}  // namespace

std::map<std::string, PickledTensor> tensors_of_object(const PickleMachine& machine, const Value& object) {
  Walk walk(machine);
  walk.over(object, "");
  std::map<std::string, PickledTensor> tensors = walk.take();
  if (tensors.empty()) machine.refuse("must be a network with tensors, holds none");
  return tensors;
}

std::string tensor_name(const PickleMachine& machine, const Value& key) {
  if (key.kind != Kind::String) machine.refuse("must be a plain state dict, has a tensor without a name");
  const std::string name(key.text);
  try {
    check_utf8(name);
  } catch (const std::invalid_argument& error) {
    machine.refuse("must have names in UTF-8, " + printable(name) + " " + error.what());
  }
  return name;
}

}  // namespace wan
