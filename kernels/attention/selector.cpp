#include "kernels/attention/selector.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/attention/attention.h"

namespace wan::kernels {
namespace {

constexpr int kSchema = 1;
constexpr int64_t kSampledRows = 16;
/// Elements of keys that the check widens at one time.
constexpr int64_t kWidened = int64_t(1) << 25;
const std::string kReference = "reference";

int64_t rounded_length(int64_t length) {
  constexpr int64_t kExact = 1024;
  return length > kExact ? length : int64_t(std::bit_ceil(uint64_t(std::max<int64_t>(length, 1))));
}

std::string text(const char* format, double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string first_line(const std::string& message) {
  return message.substr(0, std::min<size_t>(message.find('\n'), 120));
}

nlohmann::json read_cache(const std::filesystem::path& file) {
  std::ifstream in(file);
  nlohmann::json content = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!content.is_object() || content.value("schema", nlohmann::json()) != kSchema) return {{"schema", kSchema}};
  return content;
}

/// Whole or not at all: another process may read at the same time.
void write_cache(const std::filesystem::path& file, const nlohmann::json& content) {
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  const std::filesystem::path part = file.string() + ".part";
  std::ofstream out(part);
  out << content.dump(1) << '\n';
  out.close();
  if (out) std::filesystem::rename(part, file, ignored);
}

}  // namespace

std::string AttentionCase::name() const {
  static const char* const kBias[] = {"", " key bias", " full bias"};
  return "b" + std::to_string(batch) + " h" + std::to_string(heads) + " q" + std::to_string(rounded_length(queries)) +
         " k" + std::to_string(rounded_length(keys)) + " d" + std::to_string(width) + " " + at::toString(dtype) +
         kBias[int(bias)];
}

AttentionCase attention_case(const Tensor& q, const Tensor& k, const Tensor& bias) {
  using Bias = AttentionCase::Bias;
  const Bias kind = !bias.defined() ? Bias::None : bias.dim() == 1 ? Bias::Key : Bias::Full;
  return {q.size(0), q.size(2), q.size(1), k.size(1), q.size(3), q.scalar_type(), kind};
}

double sampled_error(const Tensor& output, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                     const Tensor& bias) {
  const int64_t queries = q.size(1), heads = q.size(2), count = std::min(queries, kSampledRows);
  std::vector<int64_t> places;
  for (int64_t i = 0; i < count; ++i) places.push_back(count == 1 ? 0 : i * (queries - 1) / (count - 1));
  const Tensor rows = at::tensor(places, at::kLong).to(q.device());
  const int64_t group = std::clamp<int64_t>(kWidened / std::max<int64_t>(k.numel() / heads, 1), 1, heads);
  Tensor error = at::zeros({}, q.options().dtype(at::kDouble)), size = at::zeros_like(error);
  for (int64_t head = 0; head < heads; head += group) {
    const int64_t length = std::min(group, heads - head);
    auto part = [&](const Tensor& x) { return x.narrow(2, head, length); };
    Tensor closed = bias;
    if (bias.defined() && bias.dim() == 3) closed = bias.narrow(0, head, length).index_select(1, rows);
    Tensor want = reference::attention(part(q).index_select(1, rows).to(at::kFloat), part(k).to(at::kFloat),
                                       part(v).to(at::kFloat), scale, closed);
    Tensor got = part(output).index_select(1, rows).to(at::kFloat);
    error += (got - want).square().sum(at::kDouble);
    size += want.square().sum(at::kDouble);
  }
  const double squared = error.item<double>() / std::max(size.item<double>(), 1e-60);
  return squared >= 0 ? std::sqrt(squared) : std::numeric_limits<double>::infinity();
}

AttentionSelector::AttentionSelector(std::vector<AttentionBackend> backends, std::string card, Timer timer,
                                     const std::string& off)
    : backends_(std::move(backends)), card_(std::move(card)), timer_(std::move(timer)) {
  std::istringstream names(off);
  for (std::string name; std::getline(names, name, ',');) set_enabled(name, false);
}

double AttentionSelector::bound(at::ScalarType dtype) {
  // Rounding the result alone costs 1.66e-3 and 2.1e-4; the rest is for the rounding of the weights.
  if (dtype == at::kBFloat16) return 4e-3;
  if (dtype == at::kHalf) return 1e-3;
  return 1e-4;
}

const AttentionBackend* AttentionSelector::find(const std::string& name) const {
  for (const AttentionBackend& backend : backends_)
    if (backend.name == name) return &backend;
  return nullptr;
}

void AttentionSelector::require(const std::string& name) const {
  std::string known = kReference;
  for (const AttentionBackend& backend : backends_) known += ", " + backend.name;
  TORCH_CHECK(find(name) || name == kReference, "[attention] a back end must be one of ", known, ", got ", name);
}

void AttentionSelector::set_cache(std::filesystem::path file) {
  std::lock_guard lock(mutex_);
  cache_ = std::move(file);
}

void AttentionSelector::set_enabled(const std::string& name, bool enabled) {
  require(name);
  std::lock_guard lock(mutex_);
  if (enabled)
    disabled_.erase(name);
  else
    disabled_.insert(name);
  choices_.clear();
}

void AttentionSelector::pin(const std::string& name) {
  if (!name.empty()) require(name);
  std::lock_guard lock(mutex_);
  pinned_ = name;
  choices_.clear();
}

void AttentionSelector::pin(const std::map<std::string, std::string>& choices) {
  for (const auto& [wanted, name] : choices) require(name);
  std::lock_guard lock(mutex_);
  pinned_cases_ = choices;
  choices_.clear();
}

Tensor AttentionSelector::operator()(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                     const Tensor& bias) {
  const AttentionCase wanted = attention_case(q, k, bias);
  const AttentionBackend* backend;
  {
    std::lock_guard lock(mutex_);
    auto at = choices_.find(wanted.name());
    if (at == choices_.end()) at = choices_.emplace(wanted.name(), choose(wanted, {q, k, v, scale, bias})).first;
    backend = at->second.backend;
  }
  return backend ? backend->run(q, k, v, scale, bias) : reference::attention(q, k, v, scale, bias);
}

AttentionSelector::Choice AttentionSelector::choose(const AttentionCase& wanted, const Inputs& in) const {
  std::string others;
  std::vector<Trial> trials;
  // True where the back end agrees with the reference; else `others` says why it is out.
  auto passes = [&](const AttentionBackend& backend) {
    try {
      const double error =
          sampled_error(backend.run(in.q, in.k, in.v, in.scale, in.bias), in.q, in.k, in.v, in.scale, in.bias);
      if (error <= bound(wanted.dtype)) return true;
      others += "; " + backend.name + " out: error " + text("%.1e", error);
    } catch (const c10::Error& failure) {
      others += "; " + backend.name + " out: " + first_line(failure.what_without_backtrace());
    }
    return false;
  };
  const auto named = pinned_cases_.find(wanted.name());
  const std::string& pin = named == pinned_cases_.end() ? pinned_ : named->second;
  if (pin == kReference) return {nullptr, "pinned"};
  const AttentionBackend* pinned = find(pin);
  if (pinned && pinned->takes(wanted) && passes(*pinned)) return {pinned, "pinned" + others};
  if (const AttentionBackend* known = remembered(wanted); known && passes(*known))
    return {known, "measured before" + others};
  for (const AttentionBackend& backend : backends_) {
    if (disabled_.count(backend.name)) {
      others += "; " + backend.name + " off";
    } else if (backend.takes(wanted) && passes(backend)) {
      trials.push_back({&backend, timer_([&] { backend.run(in.q, in.k, in.v, in.scale, in.bias); })});
    }
  }
  if (trials.empty()) return {nullptr, "no back end is left" + others};
  std::stable_sort(trials.begin(), trials.end(),
                   [](const Trial& a, const Trial& b) { return a.milliseconds < b.milliseconds; });
  remember(wanted, trials);
  std::string reason = text("%.3g ms", trials[0].milliseconds);
  for (size_t i = 1; i < trials.size(); ++i)
    reason += "; " + trials[i].backend->name + text(" %.3g ms", trials[i].milliseconds);
  return {trials[0].backend, reason + others};
}

const AttentionBackend* AttentionSelector::remembered(const AttentionCase& wanted) const {
  if (cache_.empty()) return nullptr;
  const nlohmann::json content = read_cache(cache_);
  const auto card = content.find(card_);
  if (card == content.end() || !card->is_object()) return nullptr;
  const auto entry = card->find(wanted.name());
  if (entry == card->end() || !entry->is_object() || entry->empty()) return nullptr;
  // The fastest that is still wanted: a back end that was off while measuring is missing here, so it is measured anew.
  const AttentionBackend* best = nullptr;
  double fastest = std::numeric_limits<double>::infinity();
  for (const AttentionBackend& backend : backends_) {
    if (disabled_.count(backend.name) || !backend.takes(wanted)) continue;
    const auto time = entry->find(backend.name);
    if (time == entry->end()) return nullptr;
    if (time->is_number() && time->get<double>() < fastest) {
      fastest = time->get<double>();
      best = &backend;
    }
  }
  return best;
}

void AttentionSelector::remember(const AttentionCase& wanted, const std::vector<Trial>& trials) const {
  if (cache_.empty()) return;
  nlohmann::json content = read_cache(cache_);
  nlohmann::json& card = content[card_];
  if (!card.is_object()) card = nlohmann::json::object();
  nlohmann::json entry = nlohmann::json::object();
  // A back end that failed is kept as null: it is not measured again by the next process.
  for (const AttentionBackend& backend : backends_)
    if (!disabled_.count(backend.name) && backend.takes(wanted)) entry[backend.name] = nullptr;
  for (const Trial& trial : trials) entry[trial.backend->name] = trial.milliseconds;
  card[wanted.name()] = entry;
  write_cache(cache_, content);
}

std::map<std::string, std::string> AttentionSelector::choices() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::string> names;
  for (const auto& [name, choice] : choices_) names[name] = choice.backend ? choice.backend->name : kReference;
  return names;
}

std::vector<std::string> AttentionSelector::report() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  for (const auto& [name, choice] : choices_)
    lines.push_back(name + ": " + (choice.backend ? choice.backend->name : kReference) + " (" + choice.reason + ")");
  return lines;
}

}  // namespace wan::kernels
