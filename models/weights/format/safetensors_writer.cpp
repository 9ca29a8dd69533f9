// Writes safetensors files, in the form of the format's own library.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "models/files/atomic_file.h"
#include "models/files/digest.h"
#include "models/files/mapped_file.h"
#include "models/weights/dtype.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

// The digest is that of the file with zeros in its place.
constexpr const char* kDigest = "sha256";
const std::string kBeforeDigest = "\"" + std::string(kDigest) + "\":\"";
const std::string kNoDigest(64, '0');

std::string_view bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

/// The tensors on the CPU in the order of the file, and its header.
struct Contents {
  std::vector<at::Tensor> tensors;
  std::string header;  // with its length before it
};

Contents contents_of(const std::map<std::string, at::Tensor>& tensors,
                     const std::map<std::string, std::string>& metadata) {
  std::vector<const std::pair<const std::string, at::Tensor>*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->second.element_size() > b->second.element_size(); });
  Contents contents;
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t end = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    const std::string_view dtype = dtype_name(tensor.scalar_type());
    if (dtype == "?") throw std::runtime_error("[" + name + "] safetensors has no word for its dtype");
    const uint64_t begin = end;
    end += tensor.nbytes();
    header[name] = {{"dtype", dtype}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
    contents.tensors.push_back(tensor.to(at::kCPU).contiguous());
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  contents.header = std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
  return contents;
}

void write(const std::filesystem::path& path, const Contents& contents) {
  AtomicFile file(path.string());
  file.write(contents.header.data(), contents.header.size());
  for (const at::Tensor& tensor : contents.tensors) file.write(tensor.const_data_ptr(), tensor.nbytes());
  file.commit();
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  write(path, contents_of(tensors, metadata));
}

void write_with_digest(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> extended = metadata;
  extended[kDigest] = kNoDigest;
  Contents contents = contents_of(tensors, extended);
  Sha256 digest;
  digest.add(contents.header);
  for (const at::Tensor& tensor : contents.tensors) digest.add(bytes_of(tensor));
  const size_t place = contents.header.find(kBeforeDigest + kNoDigest);
  contents.header.replace(place + kBeforeDigest.size(), kNoDigest.size(), digest.hex());
  write(path, contents);
}

namespace {

/// What stands behind the digest's key in the header; empty where there is none.
std::string_view stored_digest(std::string_view file) {
  uint64_t header = 0;
  if (file.size() < sizeof header) return "";
  std::memcpy(&header, file.data(), sizeof header);
  const size_t place = file.substr(sizeof header, header).find(kBeforeDigest);
  if (place == std::string_view::npos) return "";
  return file.substr(sizeof header + place + kBeforeDigest.size(), kNoDigest.size());
}

}  // namespace

bool is_undamaged(const std::filesystem::path& path) try {
  const auto file = MappedFile::open(path);
  const std::string_view all = file->bytes();
  const std::string_view stored = stored_digest(all);
  if (stored.size() != kNoDigest.size()) return false;
  const size_t place = size_t(stored.data() - all.data());
  Sha256 digest;
  digest.add(all.substr(0, place));
  digest.add(kNoDigest);
  digest.add(all.substr(place + stored.size()));
  return digest.hex() == stored;
} catch (const std::exception&) {
  return false;
}

bool has_digest(const std::filesystem::path& path) try {
  return stored_digest(MappedFile::open(path)->bytes()).size() == kNoDigest.size();
} catch (const std::exception&) {
  return false;
}

}  // namespace wan
