#include "models/weights/lora/file.h"

#include <ATen/ATen.h>

#include <cmath>
#include <set>

#include "models/files/error.h"
#include "models/weights/format/format.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/lora/adapter.h"

namespace wan::lora {
namespace {

std::string text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

int64_t product_of(const std::vector<int64_t>& shape, size_t first) {
  int64_t product = 1;
  for (size_t i = first; i < shape.size(); ++i) product *= shape[i];
  return product;
}

/// "a, b, ... (12 in all)".
std::string some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) out += (i ? ", " : "") + printable(names[i]);
  return names.size() > kShown ? out + ", ... (" + std::to_string(names.size()) + " in all)" : out;
}

bool is_full(Part part) {
  return part == Part::Diff || part == Part::DiffBias || part == Part::DiffPlain;
}

/// The tensor of a module that a part changes.
std::string tensor_of(const std::string& module, Part part) {
  if (part == Part::DiffBias) return module + ".bias";
  if (part == Part::DiffPlain) return (module.empty() ? "" : module + ".") + "modulation";
  return module + ".weight";
}

}  // namespace

size_t File::named() const {
  std::set<std::string_view> left_out;
  const auto add = [&](const std::string& key) {
    const std::optional<Key> split = lora::split(key);
    left_out.insert(split ? split->module : std::string_view(key));
  };
  for (const auto& [key, reason] : exempt_) add(key);
  for (const std::string& key : unknown_) add(key);
  return differences_.size() + left_out.size();
}

int64_t Difference::elements() const {
  return product_of(shape, 0);
}

const char* name(Kind kind) {
  switch (kind) {
    case Kind::LowRank:
      return "LoRA";
    case Kind::Hadamard:
      return "LoHa";
    case Kind::Kronecker:
      return "LoKr";
    case Kind::Full:
      return "difference";
  }
  return "";
}

/// One reading of a file: its keys by module, then differences of them.
struct File::Reading {
  const StoredTensors& network;
  const Modules modules;
  const Adapter adapter;
  File& file;
  const std::string& label;

  struct Found {
    std::string spelled;
    std::map<Part, std::string> keys;
  };
  std::map<std::string, Found> found = {};  // by the module's official name
  std::map<std::string, size_t> spellings = {};
  size_t of_text_encoder = 0;

  const StoredTensors& tensors() const { return file.checkpoint_.tensors(); }
  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    throw ModelError(label + ": " + printable(key), what);
  }

  void sort_keys() {
    for (const auto& entry : tensors()) sort(entry.first);
    for (const auto& [spelling, count] : spellings)
      if (file.dialect_.empty() || count > spellings[file.dialect_]) file.dialect_ = spelling;
  }

  void sort(const std::string& key) {
    const std::optional<Key> split = lora::split(key);
    if (const std::string_view reason = exemption(key); !reason.empty()) {
      file.exempt_[key] = reason;
      return;
    }
    if (is_of_text_encoder(key)) ++of_text_encoder;
    const std::optional<std::string> module = split ? module_of(*split) : std::nullopt;
    if (!module) {
      file.unknown_.push_back(key);
      return;
    }
    if (split->part == Part::Replacement)
      refuse(key, "replaces a weight instead of adding to it, which is not supported; use a LoRA without set_weight");
    Found& at = found[*module];
    if (!at.keys.emplace(split->part, key).second)
      refuse(key,
             "says the same as " + printable(at.keys.at(split->part)) + "; use a file that names each module once");
    at.spelled = split->module;
    ++spellings[std::string(spelling(split->module))];
  }

  /// Modulations are no modules: what stands before ".diff_m" is the block or the head that they belong to.
  std::optional<std::string> module_of(const Key& key) const {
    if (key.part != Part::DiffPlain) return modules.find(key.module);
    for (std::string_view rest = key.module;;) {
      if (network.contains(tensor_of(std::string(rest), Part::DiffPlain))) return std::string(rest);
      const size_t dot = rest.find('.');
      if (dot == std::string_view::npos) return std::nullopt;
      rest = rest.substr(dot + 1);
    }
  }

  void check_unknown(bool lax) const {
    if (found.empty() && of_text_encoder > 0)
      throw ModelError(label,
                       "must change the transformer, changes a text encoder alone; this program has no use for it");
    if (found.empty() && file.exempt_.empty())
      throw ModelError(label, "must be a LoRA of a Wan 2.2 transformer, has no key of one (" + some(file.unknown_) +
                                  "); is it a checkpoint, or a LoRA of another network?");
    if (!lax && !file.unknown_.empty())
      throw ModelError(label, "has keys that this network has no place for: " + some(file.unknown_) +
                                  "; --lora-lax leaves them out");
  }

  void make_differences() {
    for (const auto& [module, at] : found) {
      for (const auto& [part, key] : at.keys)
        if (is_full(part)) add_full(module, part, key);
      make_factored(module, at);
    }
    std::sort(file.differences_.begin(), file.differences_.end(),
              [](const Difference& a, const Difference& b) { return a.tensor < b.tensor; });
  }

  void add_full(const std::string& module, Part part, const std::string& key) {
    const StoredTensor& target = target_of(tensor_of(module, part), key);
    const StoredTensor& difference = tensors().at(key);
    if (difference.elements() != target.elements() ||
        (difference.shape != target.shape && difference.shape.size() != 1))
      refuse(key, misfit_of(target.shape, difference.shape));
    Difference made;
    made.tensor = tensor_of(module, part);
    made.shape = target.shape;
    made.kind = Kind::Full;
    made.factors = {{part, key}};
    add(std::move(made), key);
  }

  const StoredTensor& target_of(const std::string& tensor, const std::string& key) const {
    const auto target = network.find(tensor);
    if (target == network.end()) refuse(key, "changes " + printable(tensor) + ", which this network does not have");
    return target->second;
  }

  static std::string misfit_of(const std::vector<int64_t>& wanted, const std::vector<int64_t>& got) {
    return "must change a tensor " + text(wanted) + ", is for one " + text(got) +
           "; it was made for another network (Wan 2.2 14B is 5120 wide, 5B 3072, 1.3B 1536)";
  }

  void make_factored(const std::string& module, const Found& at) {
    std::map<Part, std::string> factors;
    for (const auto& [part, key] : at.keys)
      if (!is_full(part) && part != Part::Alpha) factors.insert({part, key});
    if (factors.empty()) {
      if (const auto alpha = at.keys.find(Part::Alpha); alpha != at.keys.end())
        refuse(alpha->second, "is an alpha without factors; the file is incomplete, download it again");
      return;
    }
    const std::string& first = factors.begin()->second;
    for (const auto& [part, key] : factors)
      if (part == Part::Mid || part == Part::Tucker)
        refuse(key, "is the core of a convolution's decomposition, which is not supported");
    const std::string tensor = tensor_of(module, Part::Down);
    const StoredTensor& target = target_of(tensor, first);
    Difference made;
    made.tensor = tensor;
    made.shape = target.shape;
    made.kind = kind_of(factors, first);
    made.factors = factors;
    made.dora = factors.contains(Part::DoraScale);
    made.rank = rank_of(made, first);
    check_shape(made, target.shape, first);
    set_scale(made, at);
    add(std::move(made), first);
  }

  Kind kind_of(const std::map<Part, std::string>& factors, const std::string& key) const {
    const auto has = [&](Part part) { return factors.contains(part); };
    const bool low = has(Part::Down) || has(Part::Up);
    const bool hada = has(Part::Hada1A) || has(Part::Hada1B) || has(Part::Hada2A) || has(Part::Hada2B);
    const bool first = has(Part::W1) || (has(Part::W1A) && has(Part::W1B));
    const bool second = has(Part::W2) || (has(Part::W2A) && has(Part::W2B));
    const size_t wanted = (low    ? 2
                           : hada ? 4
                                  : size_t(has(Part::W1) ? 1 : 2) + (has(Part::W2) ? 1 : 2)) +
                          size_t(has(Part::DoraScale));
    const bool whole = low    ? has(Part::Down) && has(Part::Up)
                       : hada ? has(Part::Hada1A) && has(Part::Hada1B) && has(Part::Hada2A) && has(Part::Hada2B)
                              : first && second;
    if (!whole || factors.size() != wanted)
      refuse(key,
             "must come with the other factors of its module, and with no more; the file is incomplete, download it "
             "again");
    return low ? Kind::LowRank : hada ? Kind::Hadamard : Kind::Kronecker;
  }

  const std::vector<int64_t>& shape(const Difference& made, Part part) const {
    const std::string& key = made.factors.at(part);
    const StoredTensor& factor = tensors().at(key);
    if (factor.shape.size() < 2 || !at::isFloatingType(factor.dtype))
      refuse(key, "must be a matrix of floats, is " + text(factor.shape));
    return factor.shape;
  }

  /// The inner size of a product of two factors.
  int64_t inner(const Difference& made, Part left, Part right) const {
    const int64_t rank = shape(made, right)[0];
    if (rank == 0) refuse(made.factors.at(right), "has a rank of 0; do not use this file");
    if (shape(made, left)[1] != rank)
      refuse(made.factors.at(left), "must be of rank " + std::to_string(rank) + ", is " + text(shape(made, left)));
    return rank;
  }

  int64_t rank_of(const Difference& made, const std::string&) const {
    const auto has = [&](Part part) { return made.factors.contains(part); };
    if (made.kind == Kind::LowRank) return inner(made, Part::Up, Part::Down);
    if (made.kind == Kind::Hadamard) {
      inner(made, Part::Hada2A, Part::Hada2B);
      return inner(made, Part::Hada1A, Part::Hada1B);
    }
    const int64_t first = has(Part::W1) ? 0 : inner(made, Part::W1A, Part::W1B);
    const int64_t second = has(Part::W2) ? 0 : inner(made, Part::W2A, Part::W2B);
    return second ? second : first;
  }

  /// [rows, columns] of a product or of a factor that is whole.
  std::vector<int64_t> sizes(const Difference& made, Part whole, Part left, Part right) const {
    if (made.factors.contains(whole)) return {shape(made, whole)[0], product_of(shape(made, whole), 1)};
    return {shape(made, left)[0], product_of(shape(made, right), 1)};
  }

  void check_shape(const Difference& made, const std::vector<int64_t>& target, const std::string& key) const {
    std::vector<int64_t> got;
    if (made.kind == Kind::LowRank) got = sizes(made, Part::Mid, Part::Up, Part::Down);
    if (made.kind == Kind::Hadamard) {
      got = sizes(made, Part::Mid, Part::Hada1A, Part::Hada1B);
      if (sizes(made, Part::Mid, Part::Hada2A, Part::Hada2B) != got)
        refuse(key, "must have two products of one shape; do not use this file");
    }
    if (made.kind == Kind::Kronecker) {
      const auto first = sizes(made, Part::W1, Part::W1A, Part::W1B),
                 second = sizes(made, Part::W2, Part::W2A, Part::W2B);
      got = {first[0] * second[0], first[1] * second[1]};
    }
    const std::vector<int64_t> wanted = {target[0], product_of(target, 1)};
    if (got != wanted) refuse(key, misfit_of(wanted, got));
    if (!made.dora) return;
    const std::string& magnitudes = made.factors.at(Part::DoraScale);
    const int64_t count = tensors().at(magnitudes).elements();
    if (count != wanted[0] && count != wanted[1])
      refuse(magnitudes,
             "must have a magnitude for each row or column of " + text(wanted) + ", has " + std::to_string(count));
  }

  void set_scale(Difference& made, const Found& at) const {
    if (const auto key = at.keys.find(Part::Alpha); key != at.keys.end()) {
      const StoredTensor& stored = tensors().at(key->second);
      if (stored.elements() != 1) refuse(key->second, "must be one number, is " + text(stored.shape));
      made.alpha = file.checkpoint_.map(key->second).to(at::kDouble).item<double>();
    } else {
      made.alpha = adapter.alpha(without_prefix(at.spelled));
    }
    if (!made.alpha) return;
    if (!(*made.alpha > 0) || !std::isfinite(*made.alpha))
      refuse(at.spelled, "must have an alpha above 0, has " + std::to_string(*made.alpha) +
                             "; it would change nothing or break the video");
    // Without a rank nothing is scaled: alpha / rank is 1 by definition.
    if (made.rank == 0) return;
    made.scale = *made.alpha / (adapter.rank_stabilised() ? std::sqrt(double(made.rank)) : double(made.rank));
  }

  static std::string_view without_prefix(std::string_view spelled) {
    const size_t dot = spelled.find('.');
    return spelled.starts_with("transformer") && dot != std::string_view::npos ? spelled.substr(dot + 1) : spelled;
  }

  void add(Difference made, const std::string& key) {
    for (const Difference& other : file.differences_)
      if (other.tensor == made.tensor)
        refuse(key, "changes " + printable(made.tensor) + " a second time; do not use this file");
    file.differences_.push_back(std::move(made));
  }
};

File File::open(const std::filesystem::path& path, const StoredTensors& network, const Options& options) {
  const auto mapped = MappedFile::open(path);
  File file;
  file.checkpoint_ = Checkpoint::names_only(read_tensors(mapped), path.string());
  std::map<std::string, std::string> metadata;
  if (format_of(*mapped) == &kSafetensors) metadata = read_safetensors_metadata(mapped);
  Reading reading{network, Modules(network), Adapter::of(metadata, path.string()), file, file.checkpoint_.label()};
  reading.sort_keys();
  reading.check_unknown(options.lax);
  reading.make_differences();
  return file;
}

}  // namespace wan::lora
