#include "engine/sampling/attention_record.h"

#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "engine/request/version.h"
#include "kernels/op/device.h"
#include "models/files/atomic_file.h"
#include "models/files/folder_lock.h"
#include "models/files/json.h"

namespace wan {
namespace {

// {"schema": 2, "cards": {CARD: {CASE: {BACK END: milliseconds, or null where it failed}}}}
constexpr int kSchema = 2;
constexpr const char *kSchemaKey = "schema", *kCards = "cards";

nlohmann::json empty_file() {
  return {{kSchemaKey, kSchema}, {kCards, nlohmann::json::object()}};
}

nlohmann::json read(const std::filesystem::path& file) {
  // What is no file, a pipe say, could be read for ever.
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed)) return empty_file();
  const uintmax_t size = std::filesystem::file_size(file, failed);
  if (failed || size > JsonLimits().bytes) return empty_file();
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  nlohmann::json content;
  try {
    content = parse_json(text.str());
  } catch (const BrokenJson&) {  // as if there was none
  }
  const bool known = content.is_object() && content.value(kSchemaKey, nlohmann::json()) == kSchema &&
                     content.contains(kCards) && content[kCards].is_object();
  return known ? content : empty_file();
}

void write(const std::filesystem::path& file, const nlohmann::json& content) {
  try {
    AtomicFile whole(file.string());
    const std::string text = content.dump(1) + "\n";
    whole.write(text.data(), text.size());
    whole.commit();
  } catch (const std::runtime_error&) {  // a measurement in the next process, nothing else
  }
}

/// Kernels change from version to version, and with them their times.
std::string key_of(const std::string& card) {
  return card + ", wan-infer " + version();
}

kernels::AttentionTimes times_in(const nlohmann::json& content, const std::string& card, const std::string& wanted) {
  const nlohmann::json::json_pointer place = nlohmann::json::json_pointer() / kCards / key_of(card) / wanted;
  kernels::AttentionTimes times;
  if (!content.contains(place) || !content.at(place).is_object()) return times;
  for (const auto& [name, time] : content.at(place).items()) {
    if (time.is_null()) times[name] = std::nullopt;
    if (time.is_number() && time.get<double>() > 0) times[name] = time.get<double>();
  }
  return times;
}

void put(nlohmann::json& content, const std::string& card, const std::string& wanted,
         const kernels::AttentionTimes& times) {
  nlohmann::json& cases = content[kCards][key_of(card)];
  if (!cases.is_object()) cases = nlohmann::json::object();
  nlohmann::json& entry = cases[wanted] = nlohmann::json::object();
  for (const auto& [name, time] : times) entry[name] = time ? nlohmann::json(*time) : nlohmann::json();
}

}  // namespace

kernels::AttentionMemory attention_file(std::filesystem::path file) {
  if (file.empty()) return {};
  return {[file](const std::string& card, const std::string& wanted) { return times_in(read(file), card, wanted); },
          [file](const std::string& card, const std::string& wanted, const kernels::AttentionTimes& times) {
            // Two processes that measure at the same time keep each other's cases. Who has to wait long writes all the
            // same: an entry that is lost costs a measurement.
            std::error_code ignored;
            std::filesystem::create_directories(file.parent_path(), ignored);
            if (!std::filesystem::is_directory(file.parent_path(), ignored)) return;
            std::optional<FolderLock> lock;
            for (int i = 0; i < 1000 && !(lock.emplace(file.parent_path()), lock->held()); ++i)
              std::this_thread::sleep_for(std::chrono::milliseconds(2));
            nlohmann::json content = read(file);
            put(content, card, wanted, times);
            write(file, content);
          }};
}

void warn_of_kernels(const kernels::Context& context, const Log& log) {
  if (!context.device().is_cuda() || kernels::cuda::has_kernels(context.device())) return;
  log("warning", {{"text",
                   "this build holds no kernels for this card (they need sm_80 or newer): plain operations of ATen run "
                   "instead, slower"}});
}

void log_attention(const kernels::Context& context, const Log& log) {
  if (context.attention())
    for (const std::string& line : context.attention()->report()) log("attention", {{"choice", line}});
  if (context.sums())
    for (const std::string& line : context.sums()->report())
      log("attention", {{"choice", kernels::kEightBitSums + line}});
  if (context.device().is_cuda() && context.wgmma() == kernels::Wgmma::On)
    log("attention", {{"choice", std::string(kernels::kEightBits) + ": wgmma where the GPU has it; not yet measured"}});
}

}  // namespace wan
