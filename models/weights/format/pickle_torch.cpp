// What the pickle machine knows of torch: a few functions, the storage classes, the element types and the names of
// TorchScript's classes. Sources: torch/_utils.py, torch/jit/_pickle.py, torch/csrc/jit/serialization/pickler.cpp.
#include <algorithm>
#include <array>

#include "models/files/error.h"
#include "models/weights/dtype.h"
#include "models/weights/format/pickle_machine.h"

namespace wan {

namespace {

constexpr size_t kMostDimensions = 64;  // ATen's own limit

/// The product of sizes (zeros counted as ones) and the farthest element of a view; false where either overflows.
bool measure(const PickledTensor& tensor, int64_t& elements, int64_t& farthest) {
  elements = 1;
  farthest = tensor.offset;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    const int64_t size = std::max<int64_t>(tensor.shape[i], 1);
    int64_t reach;
    if (__builtin_mul_overflow(elements, size, &elements) ||
        __builtin_mul_overflow(size - 1, tensor.strides[i], &reach) ||
        __builtin_add_overflow(farthest, reach, &farthest)) {
      return false;
    }
  }
  return true;
}

}  // namespace

void PickleMachine::push_global(std::string_view module, std::string_view name) {
  struct Allowed {
    std::string_view module, name;
    Function function;
  };
  static constexpr std::array<Allowed, 10> kAllowed = {{
      {"collections", "OrderedDict", Function::OrderedDict},
      {"torch._utils", "_rebuild_tensor", Function::RebuildTensor},
      {"torch._utils", "_rebuild_tensor_v2", Function::RebuildTensorV2},
      {"torch._utils", "_rebuild_tensor_v3", Function::RebuildTensorV3},
      {"torch._utils", "_rebuild_parameter", Function::RebuildParameter},
      {"torch.jit._pickle", "build_intlist", Function::BuildList},
      {"torch.jit._pickle", "build_doublelist", Function::BuildList},
      {"torch.jit._pickle", "build_boollist", Function::BuildList},
      {"torch.jit._pickle", "build_tensorlist", Function::BuildList},
      {"torch.jit._pickle", "restore_type_tag", Function::RestoreTypeTag},
  }};
  for (const Allowed& allowed : kAllowed) {
    if (module == allowed.module && name == allowed.name)
      return push({Kind::Function, static_cast<int64_t>(allowed.function), {}, {}});
  }
  if (module == "torch") {
    if (const auto dtype = dtype_of_storage(name))
      return push({Kind::StorageType, static_cast<int64_t>(*dtype), {}, {}});
    if (const auto dtype = dtype_of_torch(name)) return push({Kind::Dtype, static_cast<int64_t>(*dtype), {}, {}});
  }
  if (module == "torch.storage" && name == "UntypedStorage")
    return push({Kind::StorageType, static_cast<int64_t>(at::kByte), {}, {}});
  // Classes of the archive's own code: whatever they are called, their objects are attributes by name here.
  if (module == "__torch__" || module.starts_with("__torch__.")) {
    script_ = true;
    return push({Kind::Class, 0, name, {}});
  }
  refuse("must be a plain state dict, asks for " + printable(module) + "." + printable(name) + ", which was not run");
}

/// A persistent id: ("storage", type, key, device, number of elements), before torch 1.6 with a sixth value.
void PickleMachine::push_storage() {
  const Value& id = values_[pop()];
  if (id.kind != Kind::Tuple || (id.items.size() != 5 && id.items.size() != 6))
    refuse("names a storage in an unknown way");
  const auto item = [&](size_t i) -> const Value& { return values_[id.items[i]]; };
  if (item(0).text != "storage" || item(1).kind != Kind::StorageType || item(2).kind != Kind::String) {
    refuse("names a storage in an unknown way");
  }
  if (id.items.size() == 6 && item(5).kind != Kind::None) refuse("has a storage that is a part of another");
  const std::string key(item(2).text);
  const PickledStorage storage{key, static_cast<at::ScalarType>(item(1).number), integer(id.items[4])};
  if (key.empty() || key.find_first_of("/\\") != std::string::npos || key == "..") {
    refuse("must name its storages by numbers, names one \"" + printable(key) + "\"");
  }
  int64_t bytes;
  if (storage.elements < 0 ||
      __builtin_mul_overflow(storage.elements, static_cast<int64_t>(c10::elementSize(storage.dtype)), &bytes)) {
    refuse("has a storage of an impossible size");
  }
  const auto [known, added] = storage_of_key_.emplace(key, storages_.size());
  if (added) storages_.push_back(storage);
  const PickledStorage& first = storages_[known->second];
  if (first.dtype != storage.dtype || first.elements != storage.elements)
    refuse("describes the storage " + printable(key) + " in two ways");
  push({Kind::Storage, static_cast<int64_t>(known->second), {}, {}});
}

void PickleMachine::call() {
  const Value &arguments = values_[pop()], &callee = values_[pop()];
  if (callee.kind != Kind::Function || arguments.kind != Kind::Tuple)
    refuse("calls something that is no function of a state dict");
  const auto function = static_cast<Function>(callee.number);
  switch (function) {
    case Function::OrderedDict:
      if (arguments.items.size() == 1) return push_dict_of_pairs(arguments.items[0]);
      if (!arguments.items.empty()) refuse("makes an OrderedDict in an unknown way");
      return push({Kind::Dict, 0, {}, {}});
    case Function::RebuildParameter:
      if (arguments.items.empty() || values_[arguments.items[0]].kind != Kind::Tensor)
        refuse("makes a parameter of no tensor");
      return stack_.push_back(arguments.items[0]);
    case Function::BuildList:
    case Function::RestoreTypeTag:
      if (arguments.items.size() != (function == Function::BuildList ? 1 : 2)) refuse("marks a type in an unknown way");
      return stack_.push_back(arguments.items[0]);
    default:
      return rebuild_tensor(function, arguments.items);
  }
}

/// (storage, offset, sizes, strides, requires_grad, hooks[, dtype]).
void PickleMachine::rebuild_tensor(Function function, const std::vector<Index>& arguments) {
  const size_t wanted = function == Function::RebuildTensor ? 4 : function == Function::RebuildTensorV2 ? 6 : 7;
  if (arguments.size() < wanted || values_[arguments[0]].kind != Kind::Storage)
    refuse("makes a tensor in an unknown way");
  const auto storage = static_cast<size_t>(values_[arguments[0]].number);
  int64_t elements_stored = storages_[storage].elements;
  PickledTensor tensor{storage, storages_[storage].dtype, integer(arguments[1]), integers(arguments[2]),
                       integers(arguments[3])};
  if (function == Function::RebuildTensorV3) {
    if (values_[arguments[6]].kind != Kind::Dtype || tensor.dtype != at::kByte)
      refuse("makes a tensor in an unknown way");
    tensor.dtype = static_cast<at::ScalarType>(values_[arguments[6]].number);
    elements_stored /= static_cast<int64_t>(c10::elementSize(tensor.dtype));
  }

  const auto negative = [](int64_t number) { return number < 0; };
  if (tensor.shape.size() != tensor.strides.size() || tensor.shape.size() > kMostDimensions || tensor.offset < 0 ||
      std::any_of(tensor.shape.begin(), tensor.shape.end(), negative) ||
      std::any_of(tensor.strides.begin(), tensor.strides.end(), negative)) {
    refuse("has a tensor with impossible sizes or strides");
  }
  const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  int64_t elements, farthest;
  const bool inside =
      measure(tensor, elements, farthest) &&
      (empty ? tensor.offset <= elements_stored : farthest < elements_stored && elements <= elements_stored);
  if (!inside) {
    refuse("has a tensor that does not lie inside its storage " + printable(storages_[storage].key) + " of " +
           std::to_string(elements_stored) + " elements");
  }
  tensors_.push_back(std::move(tensor));
  push({Kind::Tensor, static_cast<int64_t>(tensors_.size() - 1), {}, {}});
}

int64_t PickleMachine::integer(Index index) const {
  if (values_[index].kind != Kind::Integer) refuse("has something else than a number where a size belongs");
  return values_[index].number;
}

std::vector<int64_t> PickleMachine::integers(Index index) const {
  if (values_[index].kind != Kind::Tuple) refuse("has something else than sizes where they belong");
  std::vector<int64_t> numbers;
  for (Index item : values_[index].items) numbers.push_back(integer(item));
  return numbers;
}

}  // namespace wan
