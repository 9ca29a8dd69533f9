// The part of Python's pickle language that a state dict needs. Nothing is imported, called or constructed: the few
// functions that a state dict names have a fixed meaning here, and everything else is refused by its name.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// A run of elements that tensors are views of, named by the key under which its bytes lie elsewhere.
struct PickledStorage {
  std::string key;
  at::ScalarType dtype;  // kByte for an untyped storage
  int64_t elements;
};

/// A view of a storage. Checked: it lies inside the storage and has no more elements than it.
struct PickledTensor {
  size_t storage;  // index in PickledStateDict::storages
  at::ScalarType dtype;
  int64_t offset;  // in elements of `dtype`, as the strides
  std::vector<int64_t> shape, strides;
};

struct PickledStateDict {
  std::map<std::string, PickledTensor> tensors;  // without a `module.` that all names begin with
  std::vector<PickledStorage> storages;
  size_t end;  // bytes of pickle
};

/// Reads the pickle at the beginning of `bytes`. Where the outermost dict holds no tensors, the one inside it under a
/// customary name (`state_dict`, `model`, ...) counts. Of an object of TorchScript the tensors among its attributes and
/// those of the objects in them count, by their paths. Throws ModelError about `subject`.
PickledStateDict read_pickled_state_dict(std::string_view bytes, const std::string& subject);
/// Reads a pickled list of strings and advances `bytes` past it. Throws ModelError.
std::vector<std::string> take_pickled_strings(std::string_view& bytes, const std::string& subject);
/// Reads a pickled dict and advances `bytes` past it; the value of `key` must be a boolean. Throws ModelError.
bool take_pickled_flag(std::string_view& bytes, std::string_view key, const std::string& subject);

}  // namespace wan
