#include "models/weights/format/pickle.h"

#include <stdexcept>

#include "models/files/error.h"
#include "models/files/utf8.h"
#include "models/weights/format/pickle_machine.h"

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

/// A tensor's name, which messages and JSON will show.
std::string name_of(const PickleMachine& machine, const Value& key) {
  if (key.kind != Kind::String) machine.refuse("must be a plain state dict, has a tensor without a name");
  const std::string name(key.text);
  try {
    check_utf8(name);
  } catch (const std::invalid_argument& error) {
    machine.refuse("must have names in UTF-8, " + printable(name) + " " + error.what());
  }
  return name;
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
  const Value& dict = state_dict_in(machine, machine.run());
  PickledStateDict result{{}, machine.storages(), machine.position()};
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const Value& value = machine[dict.items[i + 1]];
    if (value.kind != Kind::Tensor) continue;  // counters and settings of a training run
    const std::string name = name_of(machine, machine[dict.items[i]]);
    if (!result.tensors.emplace(name, machine.tensors()[static_cast<size_t>(value.number)]).second) {
      machine.refuse("has the tensor " + printable(name) + " twice");
    }
  }
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
