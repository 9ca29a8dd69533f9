// The opcodes are those of Python's pickletools.
#include "models/weights/format/pickle_machine.h"

#include <cstdio>

#include "models/files/error.h"

namespace wan {

namespace {

constexpr size_t kLongestPickle = 16'000'000;  // that of the text encoder has 30 kB
constexpr size_t kMostValues = 2'000'000;

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
  kBinString = 'T',  // of bytes, as Python 2 wrote its texts
  kShortBinString = 'U',
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
  kNewObj = 0x81,
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
    case kNewObj:
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

}  // namespace

PickleMachine::PickleMachine(std::string_view bytes, std::string subject)
    : subject_(std::move(subject)), reader_(bytes.substr(0, kLongestPickle), subject_) {}

void PickleMachine::refuse(const std::string& what) const {
  throw ModelError(subject_, what + (script_ ? "; get it as safetensors, or save torch.jit.load(path).state_dict()"
                                             : "; get it as safetensors, or convert it with torch.load(path, "
                                               "weights_only=True)"));
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
    case kBinString:
      return push_string(reader_.number<uint32_t>());
    case kShortBinUnicode:
    case kShortBinString:
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
    case kNewObj:
      return push_object();
    case kBuild:
      return build();
    case kBinPersId:
      return push_storage();
  }
  refuse("must be a plain state dict, uses the pickle opcode " + opcode_name(opcode));
}

/// An object of a TorchScript class, whose attributes follow.
void PickleMachine::push_object() {
  const Value &arguments = values_[pop()], &type = values_[pop()];
  if (type.kind != Kind::Class) refuse("must be a plain state dict, uses the pickle opcode " + opcode_name(kNewObj));
  if (arguments.kind != Kind::Tuple || !arguments.items.empty())
    refuse("makes a " + printable(type.text) + " with arguments");
  push({Kind::Object, 0, type.text, {}});
}

void PickleMachine::push_dict_of_pairs(Index list) {
  const Value& pairs = values_[list];
  if (pairs.kind != Kind::List) refuse("makes an OrderedDict in an unknown way");
  pairs_ += pairs.items.size();
  if (pairs_ > kMostValues) refuse("must be a state dict of less than two million values");
  Value dict{Kind::Dict, 0, {}, {}};
  for (const Index index : pairs.items) {
    const Value& pair = values_[index];
    if ((pair.kind != Kind::List && pair.kind != Kind::Tuple) || pair.items.size() != 2)
      refuse("makes an OrderedDict of something else than pairs");
    dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
  }
  push(std::move(dict));
}

/// Gives an object its attributes; those of an OrderedDict (`_metadata`, versions of modules) count for nothing.
void PickleMachine::build() {
  const Index state = pop();
  const bool is_object =
      stack_.size() > (marks_.empty() ? 0 : marks_.back()) && values_[stack_.back()].kind == Kind::Object;
  if (!is_object) {
    top(Kind::Dict);
    return;
  }
  Value& object = values_[stack_.back()];
  if (values_[state].kind != Kind::Dict)
    refuse("has a " + printable(object.text) + " whose state is no dict of attributes");
  if (!object.items.empty()) refuse("has a " + printable(object.text) + " that is filled twice");
  object.items = {state};  // not a copy: one large dict may be the state of many objects
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

const PickleMachine::Value* PickleMachine::find(const Value& dict, std::string_view key) const {
  if (dict.kind != Kind::Dict) return nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const Value& name = values_[dict.items[i]];
    if (name.kind == Kind::String && name.text == key) return &values_[dict.items[i + 1]];
  }
  return nullptr;
}

}  // namespace wan
