#include "engine/request/safety.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/params.h"

namespace wan {

namespace {

nlohmann::ordered_json finding_json(const SafetyFinding& finding, bool with_found) {
  nlohmann::ordered_json json = {{"flagged", finding.flagged}};
  if (finding.frames > 0) json.update({{"score", finding.score}, {"frame", finding.frame}, {"frames", finding.frames}});
  if (!finding.found.empty() && with_found) json["found"] = finding.found;
  return json;
}

/// Flags about what is flagged, where nothing is looked at: who gives them may take the video for checked.
void refuse_idle(const nlohmann::json& fields, const Request& request) {
  std::vector<FieldError> errors;
  for (const char* field : {"safety_threshold", "safety_action", "discard"})
    if (fields.contains(field) && (request.discard || field != std::string("discard")))
      errors.push_back({field,
                        "needs a check, and none is asked for; --safety-checker DIR or --blocked-words FILE turns one "
                        "on",
                        "value_error", "", ""});
  if (!errors.empty()) throw InvalidRequest(std::move(errors));
}

SafetyFinding read_finding(const nlohmann::json& json) {
  return {.flagged = json.at("flagged").get<bool>(),
          .score = json.value("score", 0.0),
          .found = json.value("found", ""),
          .frame = json.value("frame", int64_t(0)),
          .frames = json.value("frames", int64_t(0))};
}

}  // namespace

SafetyRule safety_rule(const Request& request) {
  SafetyRule rule{.action = request.safety_action == "blur"   ? SafetyAction::Blur
                            : request.safety_action == "flag" ? SafetyAction::Flag
                                                              : SafetyAction::Refuse,
                  .discard = request.discard,
                  .threshold = {},
                  .inputs = request.enable_safety_checker,
                  .output = request.enable_output_safety_checker};
  if (request.safety_threshold >= -1) rule.threshold = request.safety_threshold;
  return rule;
}

void settle_safety(const nlohmann::json& fields, bool from_flags, Request& request) {
  const bool checker = !request.safety_checker.empty(), words = !request.blocked_words.empty();
  const bool input_given = fields.contains("enable_safety_checker"),
             output_given = fields.contains("enable_output_safety_checker");
  const bool input_alone = input_given && request.enable_safety_checker,
             output_alone = output_given && request.enable_output_safety_checker;
  if (!input_given) request.enable_safety_checker = words || (checker && !output_alone);
  if (!output_given) request.enable_output_safety_checker = checker && !input_alone;
  if (from_flags && request.discard && request.safety_action != "refuse")
    throw InvalidRequest("discard", "needs --safety-action refuse, got " + shown(request.safety_action) +
                                        ": no video is refused otherwise; leave one of them out");
  if (from_flags && !checker && !words && !input_given && !output_given) refuse_idle(fields, request);
}

bool needs_safety_checker(const Request& request) {
  return request.enable_output_safety_checker || (request.enable_safety_checker && request.blocked_words.empty());
}

void copy_safety(const Request& from, Request& to) {
  for (const char* field : kSafetyFields)
    std::visit([&](auto member) { to.*member = from.*member; }, find_parameter(field)->field);
}

bool SafetyRecord::inputs_flagged() const {
  return std::ranges::any_of(inputs, [](const auto& input) { return input.second.flagged; });
}

bool SafetyRecord::flagged() const {
  return inputs_flagged() || (output && output->flagged);
}

nlohmann::ordered_json to_json(const SafetyRecord& record, bool with_words) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!record.checker.empty()) json.update({{"checker", record.checker}, {"threshold", record.threshold}});
  json["action"] = record.action;
  json["flagged"] = record.flagged();
  for (const auto& [field, finding] : record.inputs)
    json["inputs"][field] = finding_json(finding, with_words || (field != "prompt" && field != kExpandedField));
  if (record.output) json["output"] = finding_json(*record.output, true);
  return json;
}

SafetyRecord read_safety(const nlohmann::json& json) {
  SafetyRecord record{.checker = json.value("checker", ""),
                      .threshold = json.value("threshold", 0.0),
                      .action = json.at("action").get<std::string>()};
  if (const auto inputs = json.find("inputs"); inputs != json.end())
    for (const auto& [field, finding] : inputs->items()) record.inputs[field] = read_finding(finding);
  if (const auto output = json.find("output"); output != json.end()) record.output = read_finding(*output);
  return record;
}

SafetyRefusal::SafetyRefusal(std::string field, std::string wrong, std::string way, SafetyRecord record,
                             std::string kept)
    : std::runtime_error("[" + field + "] " + wrong + (way.empty() ? "" : "; " + way)),
      field(std::move(field)),
      wrong(std::move(wrong)),
      way(std::move(way)),
      record(std::move(record)),
      kept(std::move(kept)) {}

std::string safety_line(const Request& request) {
  const SafetyRule rule = safety_rule(request);
  if (!rule.inputs && !rule.output) return "";
  return std::string("safety: ") +
         (rule.inputs && rule.output ? "inputs and frames"
          : rule.inputs              ? "inputs"
                                     : "frames") +
         ", " + request.safety_action + " above " +
         (rule.threshold ? number_text(*rule.threshold) : "the checker's threshold") +
         (rule.discard ? ", a refused video is removed" : "");
}

std::string safety_text(const SafetyFinding& finding, double threshold) {
  return "score " + number_text(finding.score) + " of frame " + std::to_string(finding.frame) + " is above " +
         number_text(threshold) + (finding.found.empty() ? "" : " (" + finding.found + ")");
}

}  // namespace wan
