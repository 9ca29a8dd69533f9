#include "engine/serve/api/answers.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

#include "engine/serve/api/openai_error.h"

namespace wan::serve {
namespace {

using nlohmann::json;

constexpr size_t kLongText = 64 << 10;  // bytes that are parsed in less than a millisecond

/// OpenAI's error for a list of fields: it names the first, and says all of them in words.
Answer openai_fields_error(const ErrorList& errors) {
  std::string param, code = "bad_request";
  if (!errors.empty()) {
    const ErrorList& first = errors.front();
    const ErrorList& loc = first.at("loc");
    if (loc.size() > 1 && loc[1].is_string()) param = loc[1].get<std::string>();
    code = first.value("type", code);
  }
  return openai_error(400, code, error_text(Endpoint(), errors), param);
}

/// fal's {"detail"} as OpenAI's error. Other answers stay as they are.
Answer openai_form(Answer answer) {
  const ErrorList body = ErrorList::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object() || !body.contains("detail")) return answer;
  std::erase_if(answer.headers, [](const Header& header) { return header.first.starts_with("X-Fal-"); });
  const ErrorList& detail = body.at("detail");
  if (detail.is_array()) return openai_fields_error(detail);
  const std::string text = detail.is_string() ? detail.get<std::string>() : detail.dump();
  const std::string absent = answer.status == 404 ? "not_found" : "bad_request";
  return openai_error(answer.status, body.value("error_type", absent), text, "", std::move(answer.headers));
}

}  // namespace

Answer bad_fields(const Endpoint& endpoint, ErrorList errors) {
  if (endpoint.vendor == Vendor::WaveSpeed)
    return refusal(Access::Form::WaveSpeed, 400, "bad_request", error_text(endpoint, errors));
  // As pydantic has them: in the order of the fields, whenever they were found.
  const auto place = [&](const ErrorList& entry) {
    const ErrorList& loc = entry.at("loc");
    const EndpointField* field =
        loc.size() > 1 && loc[1].is_string() ? endpoint.field(loc[1].get<std::string>()) : nullptr;
    return field ? field - endpoint.fields.data() : -1;
  };
  std::stable_sort(errors.begin(), errors.end(),
                   [&](const ErrorList& one, const ErrorList& other) { return place(one) < place(other); });
  return bad_fields(Access::Form::Fal, errors);
}

Answer bad_fields(Access::Form form, const ErrorList& errors) {
  if (form == Access::Form::Fal) return json_answer({{"detail", errors}}, 422, {{"X-Fal-Retryable", "false"}});
  if (form == Access::Form::OpenAi) return openai_fields_error(errors);
  return refusal(form, 400, "bad_request", error_text(Endpoint(), errors));
}

Answer in_form(Access::Form form, Answer answer) {
  const bool is_json = !answer.file && !answer.events && answer.type == "application/json";
  if (form == Access::Form::Fal || answer.status < 400 || !is_json) return answer;
  if (form == Access::Form::OpenAi) return openai_form(std::move(answer));
  const json body = json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object() || body.contains("code") || !body.contains("detail")) return answer;
  const json& detail = body["detail"];
  std::erase_if(answer.headers, [](const Header& header) { return header.first == "X-Fal-Error-Type"; });
  return json_answer({{"code", answer.status}, {"message", detail.is_string() ? detail : json(detail.dump())}},
                     answer.status, std::move(answer.headers));
}

Answer no_room(Access::Form form) {
  return refusal(form, 503, "internal_error", "The server's disk is full; try again later", {{"Retry-After", "60"}});
}

bool is_full_disk(const std::exception& error) {
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  return system && (system->code() == std::errc::no_space_on_device || system->code().value() == EDQUOT);
}

Awaitable<std::string> read_text(Exchange& exchange, Access::Form form, uint64_t most, BodyBudget::Share* share) {
  const Answer too_large =
      refusal(form, 413, "bad_request", "The body must have at most " + std::to_string(most) + " bytes");
  if (exchange.content_length().value_or(0) > most) throw HttpError(too_large);
  std::string text;
  Exchange::Admit admit;
  if (share) admit = [share, form](uint64_t bytes) { share->take(bytes, form); };
  try {
    text = co_await exchange.read_body(most, std::move(admit));
  } catch (const HttpError& error) {
    if (error.answer.status != 413) throw;
    throw HttpError(too_large);
  }
  co_return text;
}

Awaitable<json> read_any(Exchange& exchange, Pool& pool, Access::Form form, uint64_t most, ErrorList& errors,
                         BodyBudget::Share* share) {
  const std::string text = co_await read_text(exchange, form, most, share);
  if (text.size() <= kLongText) co_return read_body_json(text, errors);
  co_return co_await pool.run([&] { return read_body_json(text, errors); });
}

Awaitable<json> read_object(Exchange& exchange, Pool& pool, Access::Form form, uint64_t most) {
  ErrorList errors = ErrorList::array();
  json body = co_await read_any(exchange, pool, form, most, errors, nullptr);
  if (errors.empty() && !body.is_object()) check_body(Endpoint(), body, errors);
  if (!errors.empty()) throw HttpError(bad_fields(form, errors));
  co_return body;
}

}  // namespace wan::serve
