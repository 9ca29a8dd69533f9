#include "models/weights/format/pickle.h"

#include "models/files/error.h"
#include "models/weights/format/pickle_machine.h"
#include "models/weights/format/script_objects.h"

namespace wan {

namespace {

using Kind = PickleMachine::Kind;
using Value = PickleMachine::Value;

bool holds_tensors(const PickleMachine& machine, const Value& dict) {
  for (size_t i = 1; i < dict.items.size(); i += 2) {
    if (machine[dict.items[i]].kind == Kind::Tensor) return true;
  }
  return false;
}

/// The dict with the tensors: the outermost one, or one inside it under a customary name or as the only entry.
const Value& state_dict_in(const PickleMachine& machine, const Value& outermost) {
  constexpr int kDeepest = 4;
  const Value* dict = &outermost;
  for (int depth = 0; depth < kDeepest && dict && dict->kind == Kind::Dict; ++depth) {
    if (holds_tensors(machine, *dict)) return *dict;
    const Value* inner = dict->items.size() == 2 ? &machine[dict->items[1]] : nullptr;
    for (const char* name : {"generator", "params_ema", "module", "model", "state_dict"}) {
      if (const Value* found = machine.find(*dict, name)) inner = found;
    }
    dict = inner;
  }
  machine.refuse("must be a state dict with tensors, holds none");
}

/// The tensors of the state dict in `outermost`.
std::map<std::string, PickledTensor> tensors_of_dict(const PickleMachine& machine, const Value& outermost) {
  const Value& dict = state_dict_in(machine, outermost);
  std::map<std::string, PickledTensor> tensors;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const Value& value = machine[dict.items[i + 1]];
    if (value.kind != Kind::Tensor) continue;  // counters and settings of a training run
    const std::string name = tensor_name(machine, machine[dict.items[i]]);
    if (!tensors.emplace(name, machine.tensors()[static_cast<size_t>(value.number)]).second)
      machine.refuse("has the tensor " + printable(name) + " twice");
  }
  return tensors;
}

void strip_common_prefix(std::map<std::string, PickledTensor>& tensors) {
  const std::string prefix = "module.";  // DistributedDataParallel's wrapping
  for (const auto& entry : tensors) {
    if (!entry.first.starts_with(prefix)) return;
  }
  std::map<std::string, PickledTensor> stripped;
  for (auto& [name, tensor] : tensors) stripped.emplace(name.substr(prefix.size()), std::move(tensor));
  tensors = std::move(stripped);
}

}  // namespace

PickledStateDict read_pickled_state_dict(std::string_view bytes, const std::string& subject) {
  PickleMachine machine(bytes, subject);
  const Value& outermost = machine.run();
  const bool is_script = outermost.kind == Kind::Object;
  PickledStateDict result{is_script ? tensors_of_object(machine, outermost) : tensors_of_dict(machine, outermost),
                          machine.storages(), machine.position()};
  strip_common_prefix(result.tensors);
  return result;
}

std::vector<std::string> take_pickled_strings(std::string_view& bytes, const std::string& subject) {
  PickleMachine machine(bytes, subject);
  const Value& list = machine.run();
  if (list.kind != Kind::List) machine.refuse("must have a list of its storages");
  std::vector<std::string> strings;
  for (PickleMachine::Index item : list.items) {
    if (machine[item].kind != Kind::String) machine.refuse("must have a list of its storages");
    strings.emplace_back(machine[item].text);
  }
  bytes.remove_prefix(machine.position());
  return strings;
}

bool take_pickled_flag(std::string_view& bytes, std::string_view key, const std::string& subject) {
  PickleMachine machine(bytes, subject);
  const Value* flag = machine.find(machine.run(), key);
  if (!flag || flag->kind != Kind::Boolean) machine.refuse("must state " + std::string(key));
  bytes.remove_prefix(machine.position());
  return flag->number != 0;
}

}  // namespace wan
