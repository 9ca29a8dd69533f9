// Who is let in: keys, cookies, hosts, origins, rates.
#include "engine/serve/api/access.h"

#include <gtest/gtest.h>

#include "models/files/digest.h"
#include "tests/serve/plain_exchange.h"

namespace wan::serve {
namespace {

using nlohmann::json;

Access::Options with_keys() {
  return {.keys = {{"anna", sha256({"key-of-anna"}), true, {}},
                   {"ben", sha256({"id:secret"}), false, {.queued_jobs = 2, .upload_bytes = 0, .video_seconds = 0}}},
          .listen = "127.0.0.1:8000",
          .public_url = {},
          .cors = {}};
}

PlainExchange with(const std::string& name, const std::string& value) {
  return PlainExchange("GET", "/queue/x", {{name, value}});
}

TEST(Access, KnowsKeysInBothSchemes) {
  Access access(with_keys());
  for (const char* header : {"Key key-of-anna", "key key-of-anna", "Bearer key-of-anna", "BEARER   key-of-anna"}) {
    const Caller caller = access.caller(with("Authorization", header));
    EXPECT_EQ(caller.name, "anna") << header;
    EXPECT_EQ(caller.owner(), std::nullopt) << header;
  }
  const Caller ben = access.caller(with("authorization", "Key id:secret"));
  EXPECT_EQ(ben.owner(), "ben");
  EXPECT_EQ(ben.quota.queued_jobs, 2);
}

TEST(Access, RefusesOthersInTheVendorsWords) {
  Access access(with_keys());
  for (const char* header : {"Key", "Key ", "Key other", "Basic key-of-anna", "key-of-anna", "Key KEY-OF-ANNA", ""}) {
    const Answer answer = refused_by([&] { access.caller(with("Authorization", header)); });
    EXPECT_EQ(answer.status, 401) << header;
    const json body = json::parse(answer.body);
    EXPECT_EQ(body["error_type"], "auth_error");
    EXPECT_TRUE(body["detail"].is_string());
    EXPECT_EQ(header_of(answer.headers, "X-Fal-Error-Type"), "auth_error");
    EXPECT_EQ(answer.body.find("key-of-anna"), std::string::npos);
  }
  EXPECT_EQ(refused_by([&] { access.caller(PlainExchange("GET", "/")); }).status, 401);
  const Answer answer = refused_by([&] { access.caller(PlainExchange("GET", "/"), Access::Form::WaveSpeed); });
  EXPECT_EQ(json::parse(answer.body)["code"], 401);
  EXPECT_TRUE(json::parse(answer.body)["message"].is_string());
}

TEST(Access, WithoutKeysEverybodyIsLetIn) {
  Access access({.keys = {}, .listen = "127.0.0.1:8000", .public_url = {}, .cors = {}});
  EXPECT_FALSE(access.wants_keys());
  for (const char* header : {"Key anything", "nonsense"})
    EXPECT_EQ(access.caller(with("Authorization", header)).owner(), std::nullopt);
  EXPECT_TRUE(access.caller(PlainExchange("GET", "/")).admin);
}

TEST(Access, CookiesStandForTheirKey) {
  Access access(with_keys());
  EXPECT_EQ(access.sign_in("other"), std::nullopt);
  const std::string set = access.sign_in("id:secret").value();
  EXPECT_EQ(set.find("secret"), std::string::npos);
  for (const char* attribute : {"; Path=/", "; HttpOnly", "; SameSite=Strict"})
    EXPECT_NE(set.find(attribute), std::string::npos) << set;
  EXPECT_EQ(set.find("Secure"), std::string::npos);
  const std::string cookie = set.substr(0, set.find(';'));
  EXPECT_EQ(access.caller(with("Cookie", cookie)).name, "ben");
  EXPECT_EQ(access.caller(with("Cookie", "a=b; " + cookie + "; c=d")).name, "ben");
  EXPECT_EQ(refused_by([&] { access.caller(with("Cookie", cookie + "0")); }).status, 401);
  EXPECT_EQ(refused_by([&] { access.caller(with("Cookie", "x" + cookie)); }).status, 401);
  // A wrong key is not made good by a cookie.
  EXPECT_EQ(refused_by([&] {
              access.caller(PlainExchange("GET", "/", {{"Authorization", "Key no"}, {"Cookie", cookie}}));
            }).status,
            401);
  access.sign_out(with("Cookie", cookie));
  EXPECT_EQ(refused_by([&] { access.caller(with("Cookie", cookie)); }).status, 401);
  EXPECT_NE(access.signed_out().find("Max-Age=0"), std::string::npos);

  Access::Options tls = with_keys();
  tls.secure_cookies = true;
  EXPECT_NE(Access(tls).sign_in("id:secret").value().find("; Secure"), std::string::npos);
}

TEST(Access, OtherKeysEndCookiesOfThoseThatAreGone) {
  Access access(with_keys());
  const auto cookie_of = [&](const std::string& key) {
    const std::string set = access.sign_in(key).value();
    return set.substr(0, set.find(';'));
  };
  const std::string anna = cookie_of("key-of-anna"), ben = cookie_of("id:secret");
  // Another key under ben's name is not ben's.
  access.replace_keys({{"anna", sha256({"key-of-anna"}), true, {}}, {"ben", sha256({"new"}), false, {}}});
  EXPECT_EQ(access.caller(with("Cookie", anna)).name, "anna");
  EXPECT_EQ(refused_by([&] { access.caller(with("Cookie", ben)); }).status, 401);
  EXPECT_EQ(refused_by([&] { access.caller(with("Authorization", "Key id:secret")); }).status, 401);
  EXPECT_EQ(access.caller(with("Authorization", "Key new")).name, "ben");
}

TEST(Access, OnlyItsOwnHostsAreAnswered) {
  const auto status = [](const Access& access, const std::string& host) {
    return refused_by([&] { access.check_source(with("Host", host)); }).status;
  };
  const Access local({.keys = {}, .listen = "127.0.0.1:8000", .public_url = {}, .cors = {}});
  for (const char* host : {"localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1:8000", "127.9.9.9", "[::1]:80",
                           "queue.localhost:8000", "localhost."})
    EXPECT_EQ(status(local, host), 0) << host;
  for (const char* host :
       {"", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.5:8000",
        "[::1", "[::2]", "localhost:80:80", "localhost:x", "localhost:123456", "127.1", "0.0.0.0", "localhost@evil"})
    EXPECT_EQ(status(local, host), 403) << host;
  EXPECT_EQ(refused_by([&] { local.check_source(PlainExchange("GET", "/")); }).status, 403);

  // Where every address is listened at, an address may be called; a name may lead here by a trick of a name server.
  const Access all({.keys = {}, .listen = "0.0.0.0:8000", .public_url = {}, .cors = {}});
  EXPECT_EQ(status(all, "192.168.0.5:8000"), 0);
  EXPECT_EQ(status(all, "[fe80::1]:8000"), 0);
  EXPECT_EQ(status(all, "evil.example"), 403);

  const Access one({.keys = {}, .listen = "192.168.0.5:8000", .public_url = {}, .cors = {}});
  EXPECT_EQ(status(one, "192.168.0.5"), 0);
  EXPECT_EQ(status(one, "192.168.0.6"), 403);

  const Access known(
      {.keys = {}, .listen = "127.0.0.1:8000", .public_url = "https://Wan.example:8443/video", .cors = {}});
  EXPECT_EQ(status(known, "wan.example:8443"), 0);
  EXPECT_EQ(status(known, "queue.wan.example"), 0);
  EXPECT_EQ(status(known, "other.wan.example"), 403);
}

TEST(Access, ForeignOriginsChangeNothing) {
  const auto status = [](const Access& access, const std::string& method, const std::string& origin, bool tls = false) {
    PlainExchange exchange(method, "/x", {{"Host", "localhost:8000"}, {"Origin", origin}});
    exchange.tls = tls;
    return refused_by([&] { access.check_source(exchange); }).status;
  };
  const Access local({.keys = {}, .listen = "127.0.0.1:8000", .public_url = "https://wan.example", .cors = {}});
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH"}) {
    EXPECT_EQ(status(local, method, "http://localhost:8000"), 0) << method;
    EXPECT_EQ(status(local, method, "https://localhost:8000"), 0) << method;  // a proxy in front has TLS
    EXPECT_EQ(status(local, method, "https://wan.example"), 0) << method;
    for (const char* origin : {"null", "", "http://localhost:3000", "http://localhost", "http://evil.example",
                               "http://wan.example", "http://localhost:8000.evil.example"})
      EXPECT_EQ(status(local, method, origin), 403) << method << " " << origin;
  }
  EXPECT_EQ(status(local, "POST", "http://localhost:8000", true), 403);
  for (const char* method : {"GET", "HEAD", "OPTIONS"}) EXPECT_EQ(status(local, method, "http://evil.example"), 0);

  const Access open({.keys = {}, .listen = "127.0.0.1:8000", .public_url = {}, .cors = "http://localhost:3000"});
  EXPECT_EQ(status(open, "POST", "http://localhost:3000"), 0);
  EXPECT_EQ(status(open, "POST", "http://localhost:3001"), 403);
}

TEST(Access, RefusalsBelowWaveSpeedsPathAreInItsForm) {
  const Access local({.keys = {}, .listen = "127.0.0.1:8000", .public_url = {}, .cors = {}});
  const auto body = [&](const std::string& path) {
    return json::parse(refused_by([&] { local.check_source(PlainExchange("GET", path, {{"Host", "x"}})); }).body);
  };
  EXPECT_EQ(body("/api/v3/predictions/1")["code"], 403);
  EXPECT_EQ(body("/API/V3/x")["code"], 403);
  EXPECT_TRUE(body("/api/fal/proxy").contains("detail"));
}

TEST(Access, BrowsersOfTheAllowedOriginAreTold) {
  const Access open({.keys = {}, .listen = "127.0.0.1:8000", .public_url = {}, .cors = "https://app.example"});
  const auto exchange = [](const std::string& origin, const std::string& headers) {
    return PlainExchange(
        "OPTIONS", "/x",
        {{"Origin", origin}, {"Access-Control-Request-Method", "POST"}, {"Access-Control-Request-Headers", headers}});
  };
  const Answer answer =
      open.preflight(exchange("https://app.example", "authorization, X-Fal-Queue-Priority,x-evil, x-fal-a:b")).value();
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(header_of(answer.headers, "Access-Control-Allow-Headers"),
            "authorization, content-type, x-fal-target-url, x-fal-queue-priority");
  EXPECT_FALSE(open.preflight(exchange("https://other.example", "")));
  const std::vector<Header> headers = open.cors_headers(with("Origin", "https://app.example"));
  EXPECT_EQ(header_of(headers, "Access-Control-Allow-Origin"), "https://app.example");
  EXPECT_NE(header_of(headers, "Access-Control-Expose-Headers").find("x-fal-request-id"), std::string::npos);
  EXPECT_EQ(header_of(open.cors_headers(with("Origin", "https://other.example")), "Access-Control-Allow-Origin"), "");
  EXPECT_EQ(header_of(open.cors_headers(with("Origin", "https://other.example")), "Vary"), "Origin");
  const Access closed({.keys = {}, .listen = "127.0.0.1:8000", .public_url = {}, .cors = {}});
  EXPECT_TRUE(closed.cors_headers(with("Origin", "https://app.example")).empty());
  EXPECT_FALSE(closed.preflight(exchange("https://app.example", "")));
}

TEST(Access, EachKeyHasItsRate) {
  Access::Options options = with_keys();
  options.requests_per_second = 0.001;  // one at first, the next after a quarter of an hour
  Access access(options);
  EXPECT_EQ(access.caller(with("Authorization", "Key key-of-anna")).name, "anna");
  const Answer answer = refused_by([&] { access.caller(with("Authorization", "Key key-of-anna")); });
  EXPECT_EQ(answer.status, 429);
  EXPECT_GT(std::stoi(header_of(answer.headers, "Retry-After")), 900);
  EXPECT_EQ(access.caller(with("Authorization", "Key id:secret")).name, "ben");
  const Answer other =
      refused_by([&] { access.caller(with("Authorization", "Key id:secret"), Access::Form::WaveSpeed); });
  EXPECT_EQ(json::parse(other.body)["code"], 429);
  // Those without a key take nothing from anybody.
  EXPECT_EQ(refused_by([&] { access.caller(with("Authorization", "Key other")); }).status, 401);
}

}  // namespace
}  // namespace wan::serve
