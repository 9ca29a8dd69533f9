#include "models/weights/format/pth.h"

// Torch's own file formats: a zip archive with `<root>/data.pkl` and `<root>/data/<key>` (since 1.6), and before that a
// row of pickles with the storages behind them. TorchScript's archives are of the first kind, with code beside it that
// is not looked at. Sources: torch/serialization.py, torch/csrc/jit/serialization.
#include <algorithm>
#include <array>

#include "models/files/bytes.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/format/pickle.h"
#include "models/weights/format/zip.h"

namespace wan {

namespace {

/// Gives every tensor its place in the file; `storages` are the bytes of PickledStateDict::storages, in their order.
StoredTensors place(const std::shared_ptr<const MappedFile>& file, const PickledStateDict& pickled,
                    const std::vector<std::string_view>& storages) {
  StoredTensors tensors;
  for (const auto& [name, tensor] : pickled.tensors) {
    const PickledStorage& storage = pickled.storages[tensor.storage];
    const std::string_view bytes = storages[tensor.storage];
    const uint64_t wanted = static_cast<uint64_t>(storage.elements) * c10::elementSize(storage.dtype);
    if (bytes.size() < wanted) {
      throw ModelError(file->path().string() + ": " + printable(name),
                       "must have a storage of " + std::to_string(wanted) + " bytes, has " +
                           std::to_string(bytes.size()) + "; download it again");
    }
    const uint64_t begin = static_cast<uint64_t>(bytes.data() - file->bytes().data());
    const uint64_t offset = begin + static_cast<uint64_t>(tensor.offset) * c10::elementSize(tensor.dtype);
    tensors.emplace(name, StoredTensor{tensor.dtype, tensor.shape, tensor.strides, file, offset});
  }
  return tensors;
}

/// The record `<root>/data.pkl`, of which there must be one.
std::pair<std::string, std::string_view> find_pickle(const ZipTable& table, const std::string& subject) {
  std::pair<std::string, std::string_view> found;
  const auto look = [&](const std::string& name) {
    const size_t slash = name.find('/');
    if (slash == std::string::npos || name.substr(slash) != "/data.pkl") return;
    if (!found.first.empty()) throw ModelError(subject, "must hold one data.pkl, holds several; do not use this file");
    found = {name.substr(0, slash + 1), table.find(name, subject).value()};
  };
  for (const std::string& name : table.packed) look(name);
  for (const auto& entry : table.records) look(entry.first);
  if (found.first.empty())
    throw ModelError(subject,
                     "must be a torch archive with data.pkl, is another zip archive; unpack it, or download the file");
  return found;
}

StoredTensors read_archive(const std::shared_ptr<const MappedFile>& file) {
  const std::string subject = file->path().string();
  const ZipTable table = read_zip(file->bytes(), subject);
  const auto [root, pickle] = find_pickle(table, subject);
  if (table.find(root + "byteorder", subject).value_or("little") != "little")
    throw ModelError(subject, "must be little-endian, is not; get it as safetensors");
  const PickledStateDict pickled = read_pickled_state_dict(pickle, subject);
  std::vector<std::string_view> storages;
  for (const PickledStorage& storage : pickled.storages) {
    const auto record = table.find(root + "data/" + storage.key, subject);
    if (!record)
      throw ModelError(subject, "must hold the storage " + printable(storage.key) + ", does not; download it again");
    storages.push_back(*record);
  }
  return place(file, pickled, storages);
}

/// An older file: what its pickles say, and the storages behind them.
struct LegacyFile {
  PickledStateDict pickled;
  std::vector<std::string> keys;  // of the storages, as they lie
  std::string_view data;
};

LegacyFile read_legacy_pickles(const MappedFile& file) {
  const std::string subject = file.path().string();
  std::string_view rest = file.bytes().substr(kLegacyTorchStart.size());
  if (!take_pickled_flag(rest, "little_endian", subject))
    throw ModelError(subject, "must be little-endian, is not; get it as safetensors");
  LegacyFile legacy{read_pickled_state_dict(rest, subject), {}, {}};
  rest.remove_prefix(legacy.pickled.end);
  legacy.keys = take_pickled_strings(rest, subject);
  legacy.data = rest;
  return legacy;
}

StoredTensors read_legacy(const std::shared_ptr<const MappedFile>& file) {
  const std::string subject = file->path().string();
  const LegacyFile legacy = read_legacy_pickles(*file);
  const std::vector<PickledStorage>& wanted = legacy.pickled.storages;
  std::map<std::string_view, size_t> index_of;
  for (size_t i = 0; i < wanted.size(); ++i) index_of[wanted[i].key] = i;
  std::vector<std::string_view> storages(wanted.size());
  ByteReader data(legacy.data, subject);
  for (const std::string& key : legacy.keys) {  // each storage behind its number of elements
    const auto found = index_of.find(key);
    const auto elements = data.number<int64_t>();
    if (found == index_of.end() || elements != wanted[found->second].elements) {
      throw ModelError(subject,
                       "must hold the storage " + printable(key) + " as its pickle describes it; download it again");
    }
    storages[found->second] =
        data.take(static_cast<uint64_t>(elements) * c10::elementSize(wanted[found->second].dtype));
  }
  for (size_t i = 0; i < storages.size(); ++i) {
    if (!storages[i].data())
      throw ModelError(subject, "must hold the storage " + printable(wanted[i].key) + ", does not; download it again");
  }
  return place(file, legacy.pickled, storages);
}

bool is_legacy(const MappedFile& file) {
  const std::string_view bytes = file.bytes();
  refuse_foreign(bytes, Content::TorchFile, file.path().string());
  if (bytes.starts_with(kLegacyTorchStart)) return true;
  if (bytes.starts_with("PK")) return false;
  throw ModelError(file.path().string(), "must be a file that torch.save wrote, is not; download it again");
}

std::vector<std::string_view> pth_header(const std::shared_ptr<const MappedFile>& file) {
  const std::string_view bytes = file->bytes();
  if (is_legacy(*file)) return {bytes.substr(0, bytes.size() - read_legacy_pickles(*file).data.size())};
  const ZipTable table = read_zip(bytes, file->path().string());
  return {table.directory, find_pickle(table, file->path().string()).second};
}

}  // namespace

StoredTensors read_pth(const std::shared_ptr<const MappedFile>& file) {
  return is_legacy(*file) ? read_legacy(file) : read_archive(file);
}

const Format kPth = {
    .has_extension =
        [](std::string_view extension) {
          constexpr std::array<std::string_view, 5> kEndings = {".pth", ".pt", ".bin", ".pkl", ".ckpt"};
          return std::find(kEndings.begin(), kEndings.end(), extension) != kEndings.end();
        },
    .has_content =
        [](std::string_view bytes) { return bytes.starts_with("PK\x03\x04") || bytes.starts_with("\x80\x02"); },
    .read = read_pth,
    .header = pth_header};

}  // namespace wan
