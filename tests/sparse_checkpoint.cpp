#include "tests/sparse_checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/weights/dtype.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

template <typename T>
std::string little(T number) {
  return std::string(reinterpret_cast<const char*>(&number), sizeof number);
}

void check(bool done, const fs::path& path) {
  if (!done) throw std::runtime_error("cannot write " + path.string());
}

/// A safetensors file with a hole for its data.
void write_sparse_safetensors(const fs::path& path, const std::vector<std::pair<std::string, StoredTensor>>& tensors) {
  nlohmann::ordered_json header;
  uint64_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t begin = end;
    end += tensor.bytes();
    header[name] = {{"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::ofstream file(path, std::ios::binary);
  file << little<uint64_t>(text.size()) << text;
  file.close();
  check(file.good() && truncate(path.c_str(), static_cast<off_t>(8 + text.size() + end)) == 0, path);
}

// --- the pickle of a state dict, opcode by opcode

std::string pickled(const std::string& text) {
  return "X" + little<uint32_t>(text.size()) + text;
}
std::string pickled(int64_t number) {
  return "\x8a\x08" + little<int64_t>(number);
}
std::string pickled(at::IntArrayRef numbers) {
  std::string out = "(";
  for (int64_t number : numbers) out += pickled(number);
  return out + "t";
}

std::string storage_class(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "BFloat16Storage" : dtype == at::kHalf ? "HalfStorage" : "FloatStorage";
}

std::string pickled(const StoredTensor& tensor, const std::string& key) {
  std::string out = "ctorch._utils\n_rebuild_tensor_v2\n((";
  out += pickled("storage") + "ctorch\n" + storage_class(tensor.dtype) + "\n" + pickled(key) + pickled("cpu");
  out += pickled(tensor.elements()) + "tQ" + pickled(int64_t{0});
  out += pickled(at::IntArrayRef(tensor.shape)) + pickled(at::IntArrayRef(tensor.strides));
  return out + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  check(file.good(), path);
}

/// "a.{0-2}.{q,k}" as "a.0.q", "a.0.k", "a.1.q" and so on.
std::vector<std::string> written_out(const std::string& pattern) {
  const size_t open = pattern.find('{'), close = pattern.find('}', open);
  if (open == std::string::npos) return {pattern};
  const std::string inside = pattern.substr(open + 1, close - open - 1);
  std::vector<std::string> all;
  const auto add = [&](const std::string& alternative) {
    for (std::string& name : written_out(pattern.substr(0, open) + alternative + pattern.substr(close + 1)))
      all.push_back(std::move(name));
  };
  int first = 0, last = 0;
  if (std::sscanf(inside.c_str(), "%d-%d", &first, &last) == 2) {
    for (int number = first; number <= last; ++number) add(std::to_string(number));
    return all;
  }
  std::istringstream alternatives(inside);
  for (std::string one; std::getline(alternatives, one, ',');) add(one);
  return all;
}

}  // namespace

std::map<std::string, StoredTensor> published_tensors(const std::string& name) {
  std::ifstream file(std::string(WAN_SOURCE_DIR) + "/tests/golden/tensors/" + name + ".json");
  const auto list = nlohmann::json::parse(file);
  const at::ScalarType dtype = dtype_of_safetensors(list.at("dtype").get<std::string>()).value();
  std::map<std::string, StoredTensor> tensors;
  for (const auto& [pattern, shape] : list.at("tensors").items()) {
    const auto sizes = shape.get<std::vector<int64_t>>();
    for (const std::string& tensor : written_out(pattern))
      tensors.emplace(tensor, StoredTensor{dtype, sizes, row_major_strides(sizes), nullptr, 0});
  }
  return tensors;
}

void write_sparse_shards(const fs::path& folder, const std::map<std::string, StoredTensor>& tensors, int64_t count) {
  fs::create_directories(folder);
  uint64_t total = 0, before = 0;
  for (const auto& entry : tensors) total += entry.second.bytes();
  std::vector<std::vector<std::pair<std::string, StoredTensor>>> shards(static_cast<size_t>(count));
  nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", nlohmann::json::object()}};
  const auto shard_name = [&](size_t shard) {
    char name[96];
    std::snprintf(name, sizeof name, "diffusion_pytorch_model-%05zu-of-%05zu.safetensors", shard + 1, shards.size());
    return std::string(name);
  };
  for (const auto& [name, tensor] : tensors) {
    const auto shard = std::min(static_cast<size_t>(before * shards.size() / total), shards.size() - 1);
    before += tensor.bytes();
    shards[shard].emplace_back(name, tensor);
    index["weight_map"][name] = shard_name(shard);
  }
  for (size_t i = 0; i < shards.size(); ++i) write_sparse_safetensors(folder / shard_name(i), shards[i]);
  write_text(folder / "diffusion_pytorch_model.safetensors.index.json", index.dump(2));
}

void write_sparse_pth(const fs::path& path, const std::map<std::string, StoredTensor>& tensors) {
  const std::string root = path.stem().string() + "/";
  std::string pickle = "\x80\x02}(";
  int64_t key = 0;
  for (const auto& [name, tensor] : tensors) pickle += pickled(name) + pickled(tensor, std::to_string(key++));
  ZipWriter zip(path);
  zip.add(root + "data.pkl", pickle + "u.");
  zip.add(root + "byteorder", "little");
  key = 0;
  for (const auto& entry : tensors) zip.add(root + "data/" + std::to_string(key++), "", entry.second.bytes());
  zip.add(root + "version", "3\n");
  zip.finish();
}

void write_sparse_gguf(const fs::path& path, const std::map<std::string, StoredTensor>& tensors) {
  const auto text = [](const std::string& word) { return little<uint64_t>(word.size()) + word; };
  std::string header = "GGUF" + little<uint32_t>(3) + little<uint64_t>(tensors.size()) + little<uint64_t>(1) +
                       text("general.architecture") + little<uint32_t>(8) + text("wan");
  uint64_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    const bool coded = name.starts_with("blocks.") && tensor.shape.size() == 2 && tensor.shape[1] % 256 == 0;
    std::vector<int64_t> shape = tensor.shape;
    if (shape.size() > 4) {
      shape[1] *= shape[0];
      shape.erase(shape.begin());
    }
    header += text(name) + little<uint32_t>(uint32_t(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) header += little<uint64_t>(uint64_t(shape[i]));
    header += little<uint32_t>(coded ? 12 : 0) + little<uint64_t>(end);
    const auto elements = uint64_t(tensor.elements());
    end += coded ? elements / 256 * 144 : elements * 4;
    end = (end + 31) / 32 * 32;
  }
  header.resize((header.size() + 31) / 32 * 32, '\0');
  write_text(path, header);
  check(truncate(path.c_str(), static_cast<off_t>(header.size() + end)) == 0, path);
}

void write_sparse_t2v_folder(const fs::path& folder) {
  const auto expert = published_tensors("official_dit_t2v_a14b");
  for (const char* name : {"high_noise_model", "low_noise_model"}) {
    write_sparse_shards(folder / name, expert, 6);
    write_text(
        folder / name / "config.json",
        R"({"_class_name": "WanModel", "dim": 5120, "eps": 1e-06, "ffn_dim": 13824, "freq_dim": 256, "in_dim": 16,
                   "model_type": "t2v", "num_heads": 40, "num_layers": 40, "out_dim": 16, "text_len": 512})");
  }
  write_sparse_pth(folder / "models_t5_umt5-xxl-enc-bf16.pth", published_tensors("official_umt5_xxl_encoder"));
  write_sparse_pth(folder / "Wan2.1_VAE.pth", published_tensors("official_wan2_1_vae"));
}

ZipWriter::ZipWriter(const fs::path& path) : file_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666)) {
  check(file_ >= 0, path);
}

ZipWriter::~ZipWriter() {
  close(file_);
}

void ZipWriter::write(std::string_view bytes) {
  check(pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(at_)) == static_cast<ssize_t>(bytes.size()),
        "zip");
  at_ += bytes.size();
}

void ZipWriter::add(const std::string& name, std::string_view bytes, uint64_t size) {
  const uint64_t header = at_;
  const uint64_t unpadded = header + 30 + name.size() + 4;
  const auto padding = static_cast<uint16_t>((64 - unpadded % 64) % 64);
  // As torch: the sizes are left to the directory (flag 8), names are UTF-8 (flag 0x800), an extra field pads to 64
  // bytes.
  write(little<uint32_t>(0x04034b50) + little<uint16_t>(0) + little<uint16_t>(0x808) + std::string(18, '\0') +
        little<uint16_t>(name.size()) + little<uint16_t>(4 + padding) + name + "FB" + little<uint16_t>(padding) +
        std::string(padding, 'Z'));
  write(bytes);
  at_ += size - bytes.size();
  check(ftruncate(file_, static_cast<off_t>(at_)) == 0, "zip");

  const bool large = size >= 0xFFFFFFFF || header >= 0xFFFFFFFF;
  const auto in32 = [&](uint64_t number) {
    return little<uint32_t>(large ? 0xFFFFFFFF : static_cast<uint32_t>(number));
  };
  const std::string extra =
      large ? little<uint16_t>(1) + little<uint16_t>(24) + little(size) + little(size) + little(header) : "";
  directory_ += little<uint32_t>(0x02014b50) + little<uint32_t>(0) + little<uint16_t>(0x808) + std::string(10, '\0') +
                in32(size) + in32(size) + little<uint16_t>(name.size()) + little<uint16_t>(extra.size()) +
                std::string(10, '\0') + in32(header) + name + extra;
  ++entries_;
}

void ZipWriter::finish() {
  const uint64_t begin = at_, size = directory_.size();
  write(directory_);
  const uint64_t end64 = at_;
  if (begin >= 0xFFFFFFFF) {
    write(little<uint32_t>(0x06064b50) + little<uint64_t>(44) + little<uint32_t>(0x002d002d) + std::string(8, '\0') +
          little(entries_) + little(entries_) + little(size) + little(begin));
    write(little<uint32_t>(0x07064b50) + little<uint32_t>(0) + little(end64) + little<uint32_t>(1));
  }
  const auto count = static_cast<uint16_t>(entries_);
  write(little<uint32_t>(0x06054b50) + little<uint32_t>(0) + little(count) + little(count) +
        little(static_cast<uint32_t>(size)) + little(static_cast<uint32_t>(std::min<uint64_t>(begin, 0xFFFFFFFF))) +
        little<uint16_t>(0));
}

}  // namespace wan
