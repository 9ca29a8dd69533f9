// Writes safetensors files, in the form of the format's own library.
#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "models/files/error.h"
#include "models/weights/dtype.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

/// A file under a temporary name beside `path`; it takes the name at the end, or vanishes.
class NewFile {
 public:
  explicit NewFile(const std::filesystem::path& path) : path_(path), temporary_(path) {
    temporary_ += "." + std::to_string(getpid()) + ".part";
    file_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file_ < 0) fail();
  }
  NewFile(const NewFile&) = delete;
  ~NewFile() {
    if (file_ >= 0) close(file_);
    if (!finished_) unlink(temporary_.c_str());
  }

  void write(const void* data, size_t size) {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(file_, from, size);
      if (written < 0 && errno != EINTR) fail();
      if (written > 0) from += written, size -= static_cast<size_t>(written);
    }
  }

  /// Synced before it takes the name, and the name after it: a power cut leaves the old file or the whole new one.
  void finish() {
    if (fsync(file_) != 0) fail();
    const int closed = close(file_);
    file_ = -1;
    if (closed != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) fail();
    finished_ = true;
    sync_folder();
  }

 private:
  /// Not every file system can sync a folder; those that cannot keep their own order.
  void sync_folder() const {
    const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
    const int opened = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) return;
    fsync(opened);
    close(opened);
  }

  [[noreturn]] void fail() const {
    throw std::runtime_error("[" + shown_name(path_.string(), true) + "] cannot be written: " + std::strerror(errno));
  }

  std::filesystem::path path_, temporary_;
  int file_ = -1;
  bool finished_ = false;
};

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const std::pair<const std::string, at::Tensor>*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->second.element_size() > b->second.element_size(); });

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
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();

  NewFile file(path);
  file.write(&length, sizeof length);
  file.write(text.data(), text.size());
  for (const auto* entry : order) {
    const at::Tensor here = entry->second.to(at::kCPU).contiguous();
    file.write(here.const_data_ptr(), here.nbytes());
  }
  file.finish();
}

}  // namespace wan
