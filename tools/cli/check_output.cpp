#include "tools/cli/check_output.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/request/field_names.h"
#include "engine/request/safety.h"
#include "engine/residency/failure.h"
#include "models/files/error.h"
#include "tools/cli/console.h"
#include "tools/cli/refusal.h"

namespace wan {

namespace {

struct Verdict {
  int code = 0;
  std::vector<FieldError> errors;
};

FieldError field_error(const ModelError& error) {
  return {error.subject, error.text, "model", "", ""};
}

Verdict found_in(const CheckResult& result) {
  if (!result.failure) return {};
  try {
    std::rethrow_exception(result.failure);
  } catch (const InvalidRequest& invalid) {
    return {2, invalid.errors};
  } catch (const ModelErrors& several) {
    Verdict verdict{3, {}};
    for (const ModelError& error : several.list) verdict.errors.push_back(field_error(error));
    return verdict;
  } catch (const ModelError& error) {
    return {3, {field_error(error)}};
  } catch (const SafetyRefusal& refused) {
    return {5, {{refused.field, refused.wrong + "; " + refused.way, "content_policy_violation", "", ""}}};
  } catch (const std::exception& error) {
    return {2, {{"check", text_of(error), "failure", "", ""}}};
  }
}

/// Of a manifest's line, whose writer knows fields and no flags, in these words.
Verdict verdict_of(const CheckResult& result) {
  Verdict verdict = found_in(result);
  if (result.line > 0)
    for (FieldError& error : verdict.errors)
      error.field = with_field_names(error.field), error.wrong = with_field_names(error.wrong);
  return verdict;
}

}  // namespace

int exit_code_of(const std::vector<CheckResult>& results) {
  int code = 0;
  for (const CheckResult& result : results)
    if (const int found = verdict_of(result).code; found != 0) code = code == 0 ? found : std::min(code, found);
  return code;
}

std::string to_text(const std::vector<CheckResult>& results, const std::string& command) {
  std::string text;
  for (const CheckResult& result : results) {
    Verdict verdict = verdict_of(result);
    const std::string typed_in = result.line > 0 ? "" : command;
    text += (result.line > 0 ? "line " + std::to_string(result.line) + " " : "") + result.name +
            (verdict.code == 0 ? ": fits\n" : ": cannot run\n");
    for (FieldError& error : verdict.errors) {
      if (!typed_in.empty()) error.field = typed_name(typed_in, error.field);
      text += "  " + error.line() + "\n";
    }
    for (const nlohmann::ordered_json& note : to_json(result.notes))
      text += "  " + log_line("note", note, false, typed_in) + "\n";
  }
  return text;
}

nlohmann::ordered_json to_json(const std::vector<CheckResult>& results) {
  nlohmann::ordered_json jobs = nlohmann::ordered_json::array();
  for (const CheckResult& result : results) {
    const Verdict verdict = verdict_of(result);
    nlohmann::ordered_json job = {{"out", result.name}, {"fits", verdict.code == 0}, {"notes", to_json(result.notes)}};
    if (result.line > 0) job["line"] = result.line;
    job["errors"] = nlohmann::ordered_json::array();
    for (const FieldError& error : verdict.errors)
      job["errors"].push_back({{"field", error.field}, {"text", error.wrong}});
    jobs.push_back(job);
  }
  return {{"fits", exit_code_of(results) == 0}, {"jobs", jobs}};
}

}  // namespace wan
