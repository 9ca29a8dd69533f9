// The stack machine under models/weights/format/pickle.h.
#pragma once

#include <deque>
#include <unordered_map>

#include "models/files/bytes.h"
#include "models/weights/format/pickle.h"

namespace wan {

/// Runs one pickle of protocol 2 to 4. Values lie in one row and name each other by index, so that neither building nor
/// releasing them recurses, however deep or shared they are; their number is bounded.
class PickleMachine {
 public:
  using Index = uint32_t;
  enum class Kind {
    None,
    Boolean,
    Integer,
    Float,
    String,
    Tuple,
    List,
    Dict,
    Function,
    StorageType,
    Dtype,
    Storage,
    Tensor,
    Class,  // of TorchScript; its code is not looked at
    Object  // of such a class: attributes and nothing else
  };
  /// What a pickle may call.
  enum class Function {
    OrderedDict,
    RebuildTensor,
    RebuildTensorV2,
    RebuildTensorV3,
    RebuildParameter,
    /// TorchScript's marks of a list's or dict's type: the first argument as it is.
    BuildList,
    RestoreTypeTag
  };

  struct Value {
    Kind kind = Kind::None;
    int64_t number = 0;          // of Boolean and Integer; Function; at::ScalarType; index of a storage or tensor
    std::string_view text = {};  // of String; name of a Class, and of an Object's
    std::vector<Index> items;    // of Tuple and List; of Dict: key, value, key, value; of Object: its Dict, once filled
  };

  PickleMachine(std::string_view bytes, std::string subject);
  /// The value at STOP. Throws ModelError.
  const Value& run();

  const Value& operator[](Index index) const { return values_[index]; }
  /// The value of a string key in a dict; null where it is absent.
  const Value* find(const Value& dict, std::string_view key) const;
  const std::vector<PickledStorage>& storages() const { return storages_; }
  const std::vector<PickledTensor>& tensors() const { return tensors_; }
  size_t position() const { return reader_.position(); }
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  void step(uint8_t opcode);
  void push(Value value);
  void push_tuple(size_t size);
  Index pop();
  std::vector<Index> pop_to_mark();
  Value& top(Kind kind);
  void remember(uint32_t slot);
  void recall(uint32_t slot);
  void push_string(uint64_t size);
  void push_long(size_t size);
  void push_global(std::string_view module, std::string_view name);
  void push_storage();
  void push_object();
  /// An OrderedDict made of a list of pairs, as Python 2 wrote it.
  void push_dict_of_pairs(Index list);
  void build();
  void call();
  void rebuild_tensor(Function function, const std::vector<Index>& arguments);
  int64_t integer(Index index) const;
  std::vector<int64_t> integers(Index index) const;

  std::string subject_;
  ByteReader reader_;
  std::deque<Value> values_;  // appending keeps references
  std::vector<Index> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Index> memo_;
  std::vector<PickledStorage> storages_;
  std::unordered_map<std::string, size_t> storage_of_key_;
  std::vector<PickledTensor> tensors_;
  size_t pairs_ = 0;     // that were copied into dicts: one list may be made a dict many times
  bool script_ = false;  // whether a class of TorchScript was named
};

}  // namespace wan
