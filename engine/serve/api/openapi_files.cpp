// The calls about files: uploads in all forms, and reading.
#include "engine/serve/api/openapi_operations.h"

namespace wan::serve::description {
namespace {

Json file_name_header() {
  return in_header("X-Fal-File-Name", text(), "What the client calls the file.");
}

void put_uploads(Json& paths) {
  const char* const tag = "Files";
  const Json access = {{"200", response("Where the file lies", schema_ref("Access"))}};
  Json part = {{"200", response("The part", schema_ref("Part"))}};
  part["200"]["headers"] = {{"ETag", {{"schema", {{"type", "string"}}}, {"description", "Of the part."}}}};
  const Json urls = {{"200", response("Where to send it", schema_ref("UploadUrls"))}, {"422", field_errors()}};
  const Json number = {{"type", "integer"}, {"minimum", 1}, {"maximum", 10000}};
  const Json list = json_content(schema_ref("Parts")), name = json_content(schema_ref("UploadName"));
  paths["/storage/auth/token"]["post"] =
      operation({.id = "token",
                 .summary = "A token for uploads",
                 .responses = {{"200", response("The token", object({"token", "token_type", "base_url", "expires_at"},
                                                                    {{"token", text()},
                                                                     {"token_type", text()},
                                                                     {"base_url", text()},
                                                                     {"expires_at", text()}}))}},
                 .tag = tag});
  paths["/files/upload"]["post"] = operation({.id = "upload",
                                              .summary = "Upload a file",
                                              .responses = access,
                                              .parameters = Json::array({file_name_header()}),
                                              .body = any_body(),
                                              .tag = tag});
  paths["/files/upload/multipart"]["post"] = operation(
      {.id = "begin_parts",
       .summary = "Begin an upload in parts",
       .responses = {{"200", response("Where the parts go", object({"access_url", "uploadId"},
                                                                   {{"access_url", text()}, {"uploadId", text()}}))}},
       .parameters = Json::array({file_name_header()}),
       .tag = tag});
  const std::string parts = "/files/uploads/{file}/multipart/{upload}";
  paths[parts + "/{number}"]["put"] =
      operation({.id = "upload_part",
                 .summary = "One part",
                 .responses = part,
                 .parameters = {in_path("file"), in_path("upload"), in_path("number", number)},
                 .body = any_body(),
                 .tag = tag});
  paths[parts + "/complete"]["post"] = operation({.id = "end_parts",
                                                  .summary = "Join the parts",
                                                  .responses = access,
                                                  .parameters = {in_path("file"), in_path("upload")},
                                                  .body = list,
                                                  .tag = tag});
  paths["/storage/upload/initiate"]["post"] =
      operation({.id = "initiate", .summary = "A URL to PUT a file to", .responses = urls, .body = name, .tag = tag});
  paths["/storage/upload/initiate-multipart"]["post"] = operation(
      {.id = "initiate_parts", .summary = "A URL to PUT parts to", .responses = urls, .body = name, .tag = tag});
  paths["/storage/put/files/uploads/{file}"]["put"] =
      operation({.id = "put",
                 .summary = "The file, to the URL that initiate gave",
                 .responses = {{"200", response("Taken", object({"file_url"}, {{"file_url", text()}}))}},
                 .parameters = Json::array({in_path("file")}),
                 .body = any_body(),
                 .open = true,
                 .tag = tag});
  const std::string signed_parts = "/storage/parts/{file}/{upload}";
  paths[signed_parts + "/{number}"]["put"] =
      operation({.id = "put_part",
                 .summary = "One part, to the URL that initiate-multipart gave",
                 .responses = part,
                 .parameters = {in_path("file"), in_path("upload"), in_path("number", number)},
                 .body = any_body(),
                 .open = true,
                 .tag = tag});
  paths[signed_parts + "/complete"]["post"] = operation({.id = "end_signed_parts",
                                                         .summary = "Join the parts",
                                                         .responses = access,
                                                         .parameters = {in_path("file"), in_path("upload")},
                                                         .body = list,
                                                         .open = true,
                                                         .tag = tag});
}

void put_tickets(Json& paths) {
  paths["/api/v3/media/uploads"]["post"] =
      operation({.id = "wavespeed_ticket",
                 .summary = "A URL to PUT a file to",
                 .responses = {{"200", response("The URL", schema_ref("WaveSpeedUpload"))}},
                 .body = json_content(schema_ref("UploadTicket")),
                 .wavespeed = true,
                 .tag = "WaveSpeed"});
  paths["/api/v3/media/put/files/uploads/{file}"]["put"] =
      operation({.id = "wavespeed_put",
                 .summary = "The file, to the URL of the ticket",
                 .responses = {{"200", response("Taken", schema_ref("WaveSpeedDone"))}},
                 .parameters = Json::array({in_path("file")}),
                 .body = any_body(),
                 .wavespeed = true,
                 .open = true,
                 .tag = "WaveSpeed"});
}

void put_files(Json& paths) {
  const Json bytes = {{"*/*", Json::object()}};
  Json responses = {{"200", {{"description", "The file"}, {"content", bytes}}},
                    {"206", {{"description", "A part of it"}, {"content", bytes}}},
                    {"304", {{"description", "It is as the ETag says"}}}};
  responses["416"] = response("The range lies outside of the file", schema_ref("Error"));
  const Json parameters = {in_path("folder", words({"uploads", "outputs", "previews"})), in_path("file"),
                           in_header("Range", text(), "bytes=FIRST-LAST")};
  paths["/files/{folder}/{file}"]["get"] = operation({.id = "file",
                                                      .summary = "A file that was uploaded or made",
                                                      .responses = responses,
                                                      .parameters = parameters,
                                                      .open = true,
                                                      .tag = "Files"});
}

}  // namespace

void put_file_calls(Json& paths) {
  put_tickets(paths);
  put_uploads(paths);
  put_files(paths);
}

}  // namespace wan::serve::description
