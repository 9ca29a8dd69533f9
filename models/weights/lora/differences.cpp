#include "models/weights/lora/differences.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "models/files/error.h"
#include "models/weights/dtype.h"
#include "models/weights/shape_text.h"

namespace wan::lora {
namespace {

int64_t product_of(const std::vector<int64_t>& shape, size_t first) {
  int64_t product = 1;
  for (size_t i = first; i < shape.size(); ++i) product *= shape[i];
  return product;
}

/// The shortest text of a number: "0", "-1", "nan".
std::string number_text(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

bool is_full(Part part) {
  return part == Part::Diff || part == Part::DiffBias || part == Part::DiffPlain;
}

/// Makes the differences of one file.
class Maker {
 public:
  Maker(const StoredTensors& tensors, const StoredTensors& network, const AdapterMetadata& adapter,
        const std::string& label)
      : tensors_(tensors), network_(network), adapter_(adapter), label_(label) {}

  /// What is wrong with the file itself is told before what does not fit the network.
  std::vector<Difference> make(const SortedKeys& keys) {
    std::vector<Difference> factored;
    for (const auto& [module, at] : keys.modules)
      if (auto made = make_factored(module, at)) factored.push_back(std::move(*made));
    for (const auto& [module, at] : keys.modules)
      for (const auto& [part, key] : at.keys)
        if (is_full(part)) add_full(module, part, key);
    for (Difference& made : factored) {
      const std::string key = made.factors.begin()->second;
      check_shape(made, key);
      add(std::move(made), key);
    }
    std::sort(made_.begin(), made_.end(), [](const Difference& a, const Difference& b) { return a.tensor < b.tensor; });
    return std::move(made_);
  }

 private:
  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    throw ModelError(label_ + ": " + printable(key), what);
  }

  void add_full(const std::string& module, Part part, const std::string& key) {
    const StoredTensor& target = target_of(tensor_of(module, part), key);
    const StoredTensor& difference = tensors_.at(key);
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
    const auto target = network_.find(tensor);
    if (target == network_.end()) refuse(key, "changes " + printable(tensor) + ", which this network does not have");
    return target->second;
  }

  static std::string misfit_of(const std::vector<int64_t>& wanted, const std::vector<int64_t>& got) {
    return "must change a tensor " + shape_text(wanted) + ", is for one " + shape_text(got) +
           "; it was made for another network" + hint(wanted, got);
  }

  /// What sizes tell of the two networks.
  static std::string hint(const std::vector<int64_t>& wanted, const std::vector<int64_t>& got) {
    constexpr int64_t kPatch = 4, kText = 16, kImage = 36;
    const int64_t has = product_of(wanted, 1), had = product_of(got, 1);
    if (has == kText * kPatch && had == kImage * kPatch)
      return " (its patch embedding takes the 36 channels of image to video, this model's the 16 of text to video)";
    if (has == kImage * kPatch && had == kText * kPatch)
      return " (its patch embedding takes the 16 channels of text to video, this model's the 36 of image to video)";
    return " (Wan 2.2 14B is 5120 wide, 5B 3072, 1.3B 1536)";
  }

  /// Nothing for a module without factors. Its shape is not compared with the network's yet.
  std::optional<Difference> make_factored(const std::string& module, const ModuleKeys& at) {
    std::map<Part, std::string> factors;
    for (const auto& [part, key] : at.keys)
      if (!is_full(part) && part != Part::Alpha) factors.insert({part, key});
    if (factors.empty()) {
      // A whole difference is added as it is: an alpha beside it does not count.
      const auto is_whole = [](const auto& entry) { return is_full(entry.first); };
      const bool whole = std::any_of(at.keys.begin(), at.keys.end(), is_whole);
      if (const auto alpha = at.keys.find(Part::Alpha); alpha != at.keys.end() && !whole)
        refuse(alpha->second, "is an alpha without factors; the file is incomplete, download it again");
      return std::nullopt;
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
    made.rank = rank_of(made);
    if (made.kind == Kind::Hadamard) made.second_rank = inner(made, Part::Hada2A, Part::Hada2B);
    set_scale(made, at);
    return made;
  }

  /// A kind by its factors, each alternative of them whole.
  Kind kind_of(const std::map<Part, std::string>& factors, const std::string& key) const {
    using enum Part;
    static const std::pair<Kind, std::set<Part>> kKinds[] = {
        {Kind::LowRank, {Down, Up}},       {Kind::Hadamard, {Hada1A, Hada1B, Hada2A, Hada2B}},
        {Kind::Kronecker, {W1, W2}},       {Kind::Kronecker, {W1, W2A, W2B}},
        {Kind::Kronecker, {W1A, W1B, W2}}, {Kind::Kronecker, {W1A, W1B, W2A, W2B}},
    };
    std::set<Part> has;
    for (const auto& [part, name] : factors)
      if (part != DoraScale) has.insert(part);
    for (const auto& [kind, wanted] : kKinds)
      if (has == wanted) return kind;
    refuse(
        key,
        "must come with the other factors of its module, and with no more; the file is incomplete, download it again");
  }

  const std::vector<int64_t>& shape(const Difference& made, Part part) const {
    const std::string& key = made.factors.at(part);
    const StoredTensor& factor = tensors_.at(key);
    if (!at::isFloatingType(factor.dtype))
      refuse(key, "must be of floats (F32, F16, BF16, F8), is of " + std::string(dtype_name(factor.dtype)) +
                      "; take the file in floats");
    if (factor.shape.size() < 2) refuse(key, "must be a matrix, is " + shape_text(factor.shape));
    return factor.shape;
  }

  /// The inner size of a product of two factors.
  int64_t inner(const Difference& made, Part left, Part right) const {
    const int64_t rank = shape(made, right)[0];
    if (rank == 0) refuse(made.factors.at(right), "has a rank of 0; do not use this file");
    const std::vector<int64_t>& rows = shape(made, left);
    if (rows[1] != rank || product_of(rows, 2) != 1)
      refuse(made.factors.at(left), "must be of rank " + std::to_string(rank) + ", is " + shape_text(rows));
    return rank;
  }

  int64_t rank_of(const Difference& made) const {
    const auto has = [&](Part part) { return made.factors.contains(part); };
    if (made.kind == Kind::LowRank) return inner(made, Part::Up, Part::Down);
    if (made.kind == Kind::Hadamard) return inner(made, Part::Hada1A, Part::Hada1B);
    const int64_t first = has(Part::W1) ? 0 : inner(made, Part::W1A, Part::W1B);
    const int64_t second = has(Part::W2) ? 0 : inner(made, Part::W2A, Part::W2B);
    return second ? second : first;
  }

  FactorSizes factor_of(const Difference& made, Part whole, Part left, Part right) const {
    const std::vector<int64_t> both = sizes(made, whole, left, right);
    return {both[0], both[1], made.factors.contains(whole) ? 0 : inner(made, left, right)};
  }

  /// [rows, columns] of a product or of a factor that is whole.
  std::vector<int64_t> sizes(const Difference& made, Part whole, Part left, Part right) const {
    if (made.factors.contains(whole)) return {shape(made, whole)[0], product_of(shape(made, whole), 1)};
    return {shape(made, left)[0], product_of(shape(made, right), 1)};
  }

  /// Of a pair of factors the one whose side does not fit: the left one has the rows, the right one the columns.
  static const std::string& wrong_side(const Difference& made, const std::vector<int64_t>& wanted,
                                       const std::vector<int64_t>& got, const std::string& key) {
    const Part side = made.kind == Kind::LowRank ? (got[1] == wanted[1] ? Part::Up : Part::Down)
                                                 : (got[1] == wanted[1] ? Part::Hada1A : Part::Hada1B);
    return made.kind == Kind::Kronecker ? key : made.factors.at(side);
  }

  void check_shape(Difference& made, const std::string& key) const {
    const std::vector<int64_t>& target = made.shape;
    std::vector<int64_t> got;
    if (made.kind == Kind::LowRank) got = sizes(made, Part::Mid, Part::Up, Part::Down);
    if (made.kind == Kind::Hadamard) {
      got = sizes(made, Part::Mid, Part::Hada1A, Part::Hada1B);
      if (sizes(made, Part::Mid, Part::Hada2A, Part::Hada2B) != got)
        refuse(key, "must have two products of one shape; do not use this file");
    }
    if (made.kind == Kind::Kronecker) {
      made.w1 = factor_of(made, Part::W1, Part::W1A, Part::W1B);
      made.w2 = factor_of(made, Part::W2, Part::W2A, Part::W2B);
      got = {made.w1.rows * made.w2.rows, made.w1.columns * made.w2.columns};
      // The kernel of a convolution is that of the second factor alone.
      if (made.factors.contains(Part::W1) && product_of(shape(made, Part::W1), 2) != 1)
        refuse(made.factors.at(Part::W1), "must be a matrix, is " + shape_text(shape(made, Part::W1)));
    }
    const std::vector<int64_t> wanted = {target[0], product_of(target, 1)};
    if (got != wanted) refuse(wrong_side(made, wanted, got, key), misfit_of(target, got));
    if (!made.dora) return;
    const std::string& magnitudes = made.factors.at(Part::DoraScale);
    const std::vector<int64_t>& shape = tensors_.at(magnitudes).shape;
    const bool of_rows = !shape.empty() && shape[0] == wanted[0] && product_of(shape, 1) == 1;
    if (!of_rows && (shape.size() < 2 || shape[0] != 1 || product_of(shape, 1) != wanted[1]))
      refuse(magnitudes, "must have a magnitude for each row [" + std::to_string(wanted[0]) + ", 1] or column [1, " +
                             std::to_string(wanted[1]) + "] of " + shape_text(wanted) + ", is " + shape_text(shape));
    made.dora_by_rows = of_rows;
  }

  void set_scale(Difference& made, const ModuleKeys& at) const {
    // Without a rank, of a LoKr of two whole factors, alpha does not count, whatever it is.
    if (made.rank == 0) return;
    const AdapterMetadata::Scaling said = adapter_.scaling(at.spelled);
    made.alpha = said.alpha;
    if (const auto key = at.keys.find(Part::Alpha); key != at.keys.end()) {
      const StoredTensor& stored = tensors_.at(key->second);
      if (stored.elements() != 1) refuse(key->second, "must be one number, is " + shape_text(stored.shape));
      made.alpha = read_number(stored);
      if (!made.alpha) refuse(key->second, "must be one number in a plain type; do not use this file");
    }
    if (!made.alpha) return;
    if (!(*made.alpha > 0) || !std::isfinite(*made.alpha))
      refuse(at.spelled, "must have an alpha above 0, has " + number_text(*made.alpha) +
                             "; it would change nothing or break the video");
    made.scale = *made.alpha / (said.rank_stabilised ? std::sqrt(double(made.rank)) : double(made.rank));
    if (!std::isfinite(float(made.scale)))
      refuse(at.spelled, "must have an alpha whose scale is a float32, has " + number_text(*made.alpha) +
                             "; it would break the video");
  }

  void add(Difference made, const std::string& key) {
    if (!changed_.insert(made.tensor).second)
      refuse(key, "changes " + printable(made.tensor) + " a second time; do not use this file");
    made_.push_back(std::move(made));
  }

  const StoredTensors &tensors_, &network_;
  const AdapterMetadata& adapter_;
  const std::string& label_;
  std::vector<Difference> made_;
  std::set<std::string> changed_;  // tensors
};

}  // namespace

std::vector<Difference> make_differences(const SortedKeys& keys, const StoredTensors& tensors,
                                         const StoredTensors& network, const AdapterMetadata& adapter,
                                         const std::string& label) {
  return Maker(tensors, network, adapter, label).make(keys);
}

}  // namespace wan::lora
