/* llama.cpp's engine with the variables, and the changes to messages for templates that lack something, of
 * llama-server (its common/chat.cpp). */
#include <names.h>

#include <jinja/caps.h>
#include <jinja/lexer.h>
#include <jinja/parser.h>
#include <jinja/runtime.h>
#include <json.h>

#include "model/jinja.h"

#include <ctime>
#include <exception>
#include <string>

namespace {

using json = common_json;

json make_messages(const me_template_input &input) {
    json messages = json::array();
    for (size_t i = 0; i < input.n_messages; i++)
        messages.push_back(json{{"role", input.messages[i].role}, {"content", input.messages[i].content}});
    return messages;
}

/* A template without a system role gets the system prompt at the head of the next message. */
void merge_system(json &messages) {
    if (messages.empty() || messages.front().at("role") != "system") return;
    if (messages.size() > 1)
        messages[1]["content"] = messages.front().at("content").get<std::string>() + "\n" +
                                 messages[1].at("content").get<std::string>();
    messages.erase(0);
}

/* A template may want a list of parts in the place of a text. */
void make_typed(json &messages) {
    for (auto &message : messages) {
        const std::string text = message.at("content").get<std::string>();
        message["content"] = json::array({json{{"type", "text"}, {"text", text}}});
    }
}

std::string today(const char *format) {
    char text[64];
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    return std::string(text, std::strftime(text, sizeof text, format, &local));
}

json make_variables(const me_template_input &input, json &&messages) {
    return json{{"messages", std::move(messages)},  {"bos_token", input.bos},
                {"eos_token", input.eos},           {"enable_thinking", true},
                {"preserve_reasoning", true},       {"datetime", today("%b %d %Y")},
                {"date_string", today("%d %b %Y")}, {"add_generation_prompt", true}};
}

bool starts_with(const std::string &text, const std::string &start) {
    return text.compare(0, start.size(), start) == 0;
}

bool ends_with(const std::string &text, const std::string &end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string render(const me_template_input &input) {
    jinja::lexer lexer;
    const jinja::lexer_result tokens = lexer.tokenize(input.source);
    jinja::program program = jinja::parse_from_tokens(tokens);
    const jinja::caps caps = jinja::caps_get(program);

    json messages = make_messages(input);
    if (!caps.supports_system_role) merge_system(messages);
    if (!caps.supports_string_content && caps.supports_typed_content) make_typed(messages);

    jinja::context context(tokens.source);
    jinja::caps_apply_preserve_reasoning(context, true);
    jinja::global_from_json(context, make_variables(input, std::move(messages)), true);
    jinja::runtime runtime(context);
    std::string text = jinja::runtime::gather_string_parts(runtime.execute(program))->as_string().str();

    if (input.add_bos && starts_with(text, input.bos)) text.erase(0, std::string(input.bos).size());
    if (input.add_eos && ends_with(text, input.eos)) text.erase(text.size() - std::string(input.eos).size());
    return text;
}

} // namespace

void me_jinja_render(const me_template_input *input, me_jinja_sink sink, void *user) {
    try {
        const std::string text = render(*input);
        sink(user, true, text.data(), text.size());
    } catch (const std::exception &e) {
        const std::string why = e.what();
        sink(user, false, why.data(), why.size());
    } catch (...) {
        static const char why[] = "an unknown error";
        sink(user, false, why, sizeof why - 1);
    }
}
