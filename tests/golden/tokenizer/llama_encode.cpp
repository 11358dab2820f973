/* tests/golden/tokenizer/llama_encode.cpp - llama.cpp's token ids, for make_vocabs.py.
 *   llama_encode VOCABULARY.gguf
 * First a line: does the file ask for BOS, and for EOS. Then on stdin again and again a line "PARSED
 * BYTES" with a text of so many bytes behind it, and on stdout its ids in a line; special tokens in
 * the text count where PARSED is 1, and neither BOS nor EOS is added. */
#include <llama.h>

#include <cstdio>
#include <string>
#include <vector>

static void keep_quiet(ggml_log_level level, const char *text, void *)
{
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static bool print_ids(const llama_vocab *vocab, const std::string &text, bool parsed)
{
    std::vector<llama_token> ids(text.size() + 8);
    int n = llama_tokenize(vocab, text.data(), (int)text.size(), ids.data(), (int)ids.size(), false,
                           parsed);
    for (int i = 0; i < n; i++) printf("%d ", ids[i]);
    printf("\n");
    fflush(stdout);
    return n >= 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    llama_log_set(keep_quiet, nullptr);
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    llama_model *model = llama_model_load_from_file(argv[1], params);
    if (!model) return 1;
    const llama_vocab *vocab = llama_model_get_vocab(model);
    printf("%d %d\n", llama_vocab_get_add_bos(vocab), llama_vocab_get_add_eos(vocab));
    fflush(stdout);
    for (int parsed, bytes; scanf("%d %d", &parsed, &bytes) == 2 && getchar() == '\n';) {
        std::string text(bytes, '\0');
        if (fread(&text[0], 1, text.size(), stdin) != text.size()) return 1;
        if (!print_ids(vocab, text, parsed)) return 1;
    }
    llama_model_free(model);
    return 0;
}
