// Refusals in the words of the vendor whose endpoint was called.
#pragma once

#include <exception>
#include <string>

#include "engine/serve/api/access.h"
#include "engine/serve/api/body_budget.h"
#include "engine/serve/api/endpoints.h"
#include "engine/serve/api/validate.h"
#include "engine/serve/net/exchange.h"
#include "engine/serve/net/pool.h"

namespace wan::serve {

inline Access::Form form_of(Vendor vendor) {
  return vendor == Vendor::WaveSpeed ? Access::Form::WaveSpeed : Access::Form::Fal;
}

/// What is wrong with the fields of a request: fal's 422 with the list, WaveSpeed's 400 with its text.
Answer bad_fields(const Endpoint& endpoint, ErrorList errors);
/// The same list for a request that belongs to no endpoint, or is of OpenAI's form: 400 that names the first field.
Answer bad_fields(Access::Form form, const ErrorList& errors);

/// A refusal as the caller's vendor has it, whichever part of the server made it: fal's {"detail"} becomes WaveSpeed's
/// {"code", "message"} or OpenAI's {"error"} for these forms. Other answers stay as they are.
Answer in_form(Access::Form form, Answer answer);

/// Where the disk is full: 503 with Retry-After.
Answer no_room(Access::Form form);
/// Whether an error says that the disk, or the user's part of it, is full.
bool is_full_disk(const std::exception& error);

/// The body as it came; `share` as in read_any(). Throws HttpError: 413 beyond `most` bytes.
Awaitable<std::string> read_text(Exchange& exchange, Access::Form form, uint64_t most, BodyBudget::Share* share);
/// The body as a JSON object, read off the server's thread where it is long. Throws HttpError: 413 beyond `most` bytes, and
/// bad_fields where it is something else.
Awaitable<nlohmann::json> read_object(Exchange& exchange, Pool& pool, Access::Form form, uint64_t most);
/// As above, for what is then checked: `errors` gets what is no JSON in place of an exception. `share`, which may be null
/// for short bodies, is the part of the memory for bodies that this one takes.
Awaitable<nlohmann::json> read_any(Exchange& exchange, Pool& pool, Access::Form form, uint64_t most, ErrorList& errors,
                                   BodyBudget::Share* share);

}  // namespace wan::serve
