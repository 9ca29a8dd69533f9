// Hosted URLs on this server.
#include "engine/serve/api/proxy.h"

#include "tests/serve/handlers_scene.h"

namespace wan::serve {
namespace {

TEST(Proxy, LeadsToTheRouteOfTheSameName) {
  EXPECT_EQ(local_target("https://fal.run/fal-ai/wan/v2.2-a14b/text-to-video"), "/fal-ai/wan/v2.2-a14b/text-to-video");
  EXPECT_EQ(local_target("https://queue.fal.run/fal-ai/wan/requests/1/status?logs=1"),
            "/queue/fal-ai/wan/requests/1/status?logs=1");
  EXPECT_EQ(local_target("https://rest.fal.ai/storage/upload/initiate?storage_type=gcs"),
            "/storage/upload/initiate?storage_type=gcs");
  EXPECT_EQ(local_target("HTTPS://FAL.RUN:443/fal-ai/x#part"), "/fal-ai/x");
}

TEST(Proxy, LeadsNowhereElse) {
  for (const char* url :
       {"", "/fal-ai/x", "http://fal.run/fal-ai/x", "https://fal.run", "https://fal.run.evil.example/fal-ai/x",
        "https://evil.example/fal-ai/x", "https://user@fal.run/fal-ai/x", "https://fal.run@evil.example/fal-ai/x",
        "https://fal.run/api/fal/proxy", "https://fal.run/page/jobs", "https://rest.fal.ai/tokens/",
        "https://fal.run:8080/fal-ai/x", "ftp://fal.run/fal-ai/x"})
    EXPECT_FALSE(local_target(url).has_value()) << url;
}

class ProxyCalls : public HandlersScene {
 protected:
  Answer call(const std::string& method, const std::string& url, const std::string& body = "") {
    std::vector<ApiExchange> exchanges(1, request(method, "/api/fal/proxy", body));
    if (!url.empty()) exchanges[0].headers["x-fal-target-url"] = url;
    return ask_all(exchanges).front();
  }
  static std::string allow_of(const Answer& answer) {
    for (const auto& [name, value] : answer.headers)
      if (name == "Allow") return value;
    return "";
  }
};

TEST_F(ProxyCalls, AreAnsweredByTheRouteOfTheSameNameWhateverTheirMethod) {
  begin_api();
  const std::string queue = "https://queue.fal.run/fal-ai/wan/";
  const Answer submitted = call("POST", queue + "v2.2-a14b/text-to-video", R"({"prompt": "a cat"})");
  ASSERT_EQ(submitted.status, 200) << submitted.body;
  const std::string request = queue + "requests/" + json_of(submitted)["request_id"].get<std::string>();
  for (const char* method : {"GET", "HEAD"}) EXPECT_EQ(call(method, request + "/status").status, 202) << method;
  EXPECT_EQ(call("PUT", request + "/cancel").status, 202);
  // What the hosted route does not take is refused in its name.
  for (const char* method : {"DELETE", "PATCH", "BREW"}) {
    const Answer refused = call(method, request + "/status");
    EXPECT_EQ(refused.status, 405) << method;
    EXPECT_EQ(allow_of(refused), "GET, HEAD, OPTIONS") << method;
  }
  const Answer options = call("OPTIONS", request + "/cancel");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(allow_of(options), "OPTIONS, PUT");
}

TEST_F(ProxyCalls, WithoutATargetAreRefused) {
  begin_api();
  for (const char* method : {"GET", "POST", "DELETE", "BREW"}) EXPECT_EQ(call(method, "").status, 400) << method;
  const Answer options = call("OPTIONS", "");
  EXPECT_EQ(options.status, 204);
  EXPECT_NE(allow_of(options).find("DELETE, GET"), std::string::npos);
  EXPECT_EQ(call("DELETE", "https://evil.example/x").status, 404);
}

}  // namespace
}  // namespace wan::serve
