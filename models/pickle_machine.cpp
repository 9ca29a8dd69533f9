// The opcodes are those of Python's pickletools; the globals those of torch/_utils.py.
#include "models/pickle_machine.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "models/dtype.h"
#include "models/error.h"

namespace wan {

namespace {

constexpr size_t kLongestPickle = 16'000'000;  // that of the text encoder has 30 kB
constexpr size_t kMostValues = 2'000'000;
constexpr size_t kMostDimensions = 64;  // ATen's own limit

enum Opcode : uint8_t {
  kProto = 0x80,
  kFrame = 0x95,
  kStop = '.',
  kNone = 'N',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kBinFloat = 'G',
  kBinUnicode = 'X',
  kShortBinUnicode = 0x8c,
  kEmptyTuple = ')',
  kEmptyList = ']',
  kEmptyDict = '}',
  kMark = '(',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kAppend = 'a',
  kAppends = 'e',
  kSetItem = 's',
  kSetItems = 'u',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kMemoize = 0x94,
  kBinGet = 'h',
  kLongBinGet = 'j',
  kGlobal = 'c',
  kStackGlobal = 0x93,
  kReduce = 'R',
  kBuild = 'b',
  kBinPersId = 'Q',
};

/// Names for the opcodes that build objects, which people look for in a message.
std::string opcode_name(uint8_t opcode) {
  switch (opcode) {
    case 'i':
      return "INST";
    case 'o':
      return "OBJ";
    case 0x81:
      return "NEWOBJ";
    case 0x92:
      return "NEWOBJ_EX";
    case 0x82:
    case 0x83:
    case 0x84:
      return "EXT";
  }
  char text[5];
  std::snprintf(text, sizeof text, "0x%02X", opcode);
  return text;
}

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

PickleMachine::PickleMachine(std::string_view bytes, std::string subject)
    : subject_(std::move(subject)), reader_(bytes.substr(0, kLongestPickle), subject_) {}

void PickleMachine::refuse(const std::string& what) const {
  throw ModelError(subject_, what + "; get it as safetensors, or convert it with torch.load(path, weights_only=True)");
}

const PickleMachine::Value& PickleMachine::run() {
  if (reader_.number<uint8_t>() != kProto) refuse("must be a pickle of protocol 2 to 4");
  const auto protocol = reader_.number<uint8_t>();
  if (protocol < 2 || protocol > 4) refuse("must be a pickle of protocol 2 to 4, has " + std::to_string(protocol));
  for (;;) {
    const auto opcode = reader_.number<uint8_t>();
    if (opcode == kStop) return values_[pop()];
    step(opcode);
  }
}

void PickleMachine::step(uint8_t opcode) {
  switch (opcode) {
    case kFrame:
      return reader_.skip(8);
    case kNone:
      return push({});
    case kNewTrue:
    case kNewFalse:
      return push({Kind::Boolean, opcode == kNewTrue, {}, {}});
    case kBinInt:
      return push({Kind::Integer, reader_.number<int32_t>(), {}, {}});
    case kBinInt1:
      return push({Kind::Integer, reader_.number<uint8_t>(), {}, {}});
    case kBinInt2:
      return push({Kind::Integer, reader_.number<uint16_t>(), {}, {}});
    case kLong1:
      return push_long(reader_.number<uint8_t>());
    case kBinFloat:
      reader_.skip(8);
      return push({Kind::Float, 0, {}, {}});
    case kBinUnicode:
      return push_string(reader_.number<uint32_t>());
    case kShortBinUnicode:
      return push_string(reader_.number<uint8_t>());
    case kEmptyTuple:
      return push({Kind::Tuple, 0, {}, {}});
    case kEmptyList:
      return push({Kind::List, 0, {}, {}});
    case kEmptyDict:
      return push({Kind::Dict, 0, {}, {}});
    case kMark:
      return marks_.push_back(stack_.size());
    case kTuple:
      return push({Kind::Tuple, 0, {}, pop_to_mark()});
    case kTuple1:
    case kTuple2:
    case kTuple3:
      return push_tuple(opcode - kTuple1 + 1);
    case kAppend:
    case kAppends: {
      const std::vector<Index> added = opcode == kAppends ? pop_to_mark() : std::vector<Index>{pop()};
      auto& items = top(Kind::List).items;
      items.insert(items.end(), added.begin(), added.end());
      return;
    }
    case kSetItem:
    case kSetItems: {
      std::vector<Index> added;
      if (opcode == kSetItems) {
        added = pop_to_mark();
      } else {
        const Index value = pop();
        added = {pop(), value};
      }
      if (added.size() % 2 != 0) refuse("sets a key without a value");
      auto& items = top(Kind::Dict).items;
      items.insert(items.end(), added.begin(), added.end());
      return;
    }
    case kBinPut:
      return remember(reader_.number<uint8_t>());
    case kLongBinPut:
      return remember(reader_.number<uint32_t>());
    case kMemoize:
      return remember(static_cast<uint32_t>(memo_.size()));
    case kBinGet:
      return recall(reader_.number<uint8_t>());
    case kLongBinGet:
      return recall(reader_.number<uint32_t>());
    case kGlobal: {
      const std::string_view module = reader_.line();
      return push_global(module, reader_.line());
    }
    case kStackGlobal: {
      const Value &name = values_[pop()], &module = values_[pop()];
      if (name.kind != Kind::String || module.kind != Kind::String)
        refuse("names a global by something else than strings");
      return push_global(module.text, name.text);
    }
    case kReduce:
      return call();
    case kBuild:
      pop();  // the attributes of an OrderedDict: `_metadata`, versions of modules
      top(Kind::Dict);
      return;
    case kBinPersId:
      return push_storage();
  }
  refuse("must be a plain state dict, uses the pickle opcode " + opcode_name(opcode));
}

void PickleMachine::push(Value value) {
  if (values_.size() == kMostValues) refuse("must be a state dict of less than two million values");
  stack_.push_back(static_cast<Index>(values_.size()));
  values_.push_back(std::move(value));
}

PickleMachine::Index PickleMachine::pop() {
  if (stack_.size() == (marks_.empty() ? 0 : marks_.back())) refuse("takes a value that it did not make");
  const Index index = stack_.back();
  stack_.pop_back();
  return index;
}

std::vector<PickleMachine::Index> PickleMachine::pop_to_mark() {
  if (marks_.empty()) refuse("takes values up to a mark that it did not set");
  std::vector<Index> items(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return items;
}

PickleMachine::Value& PickleMachine::top(Kind kind) {
  if (stack_.size() == (marks_.empty() ? 0 : marks_.back()) || values_[stack_.back()].kind != kind) {
    refuse(kind == Kind::Dict ? "must be a plain state dict, fills another object than a dict"
                              : "appends to something else than a list");
  }
  return values_[stack_.back()];
}

void PickleMachine::push_tuple(size_t size) {
  std::vector<Index> items(size);
  for (size_t i = size; i-- > 0;) items[i] = pop();
  push({Kind::Tuple, 0, {}, std::move(items)});
}

void PickleMachine::remember(uint32_t slot) {
  if (stack_.empty()) refuse("remembers a value that it did not make");
  memo_[slot] = stack_.back();
}

void PickleMachine::recall(uint32_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) refuse("recalls a value that it did not make");
  stack_.push_back(found->second);
}

void PickleMachine::push_string(uint64_t size) {
  push({Kind::String, 0, reader_.take(size), {}});
}

void PickleMachine::push_long(size_t size) {
  if (size > 8) refuse("holds a number of more than 64 bits");
  const std::string_view digits = reader_.take(size);
  uint64_t bits = size > 0 && (digits[size - 1] & 0x80) ? ~uint64_t{0} : 0;  // sign
  std::memcpy(&bits, digits.data(), size);
  push({Kind::Integer, static_cast<int64_t>(bits), {}, {}});
}

void PickleMachine::push_global(std::string_view module, std::string_view name) {
  struct Allowed {
    std::string_view module, name;
    Function function;
  };
  static constexpr std::array<Allowed, 5> kAllowed = {{
      {"collections", "OrderedDict", Function::OrderedDict},
      {"torch._utils", "_rebuild_tensor", Function::RebuildTensor},
      {"torch._utils", "_rebuild_tensor_v2", Function::RebuildTensorV2},
      {"torch._utils", "_rebuild_tensor_v3", Function::RebuildTensorV3},
      {"torch._utils", "_rebuild_parameter", Function::RebuildParameter},
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
      if (!arguments.items.empty()) refuse("makes an OrderedDict in an unknown way");
      return push({Kind::Dict, 0, {}, {}});
    case Function::RebuildParameter:
      if (arguments.items.empty() || values_[arguments.items[0]].kind != Kind::Tensor)
        refuse("makes a parameter of no tensor");
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

const PickleMachine::Value* PickleMachine::find(const Value& dict, std::string_view key) const {
  if (dict.kind != Kind::Dict) return nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const Value& name = values_[dict.items[i]];
    if (name.kind == Kind::String && name.text == key) return &values_[dict.items[i + 1]];
  }
  return nullptr;
}

}  // namespace wan
