"""The suites, on small data of our own in each benchmark's format, and what is said of wrong data."""

import json

import pytest

from evaluation.errors import EvaluationError
from evaluation.suites import NAMES, load_suite
from evaluation.suites.question_csv import git_blob_hash
from evaluation.suites.suite import MATCH, NUMBER, OBJECTS, SPATIAL, YES_NO

HEADER = "item_id,text,proposition_id,dependency,tuple,question_natural_language\n"
ROWS = 'a,"A cup, red",1,0,entity - whole (cup),A cup?\na,"A cup, red",2,1,attribute - color (cup),Red?\n'


@pytest.fixture
def write(tmp_path):
    def put(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return put


def test_questions_of_a_csv(write):
    (prompt,) = load_suite("dpg_bench", write("any.csv", "\ufeff" + HEADER + ROWS)).prompts
    assert (prompt.id, prompt.text) == ("a", "A cup, red")
    assert [(q.id, q.text, q.parents, q.category, q.kind) for q in prompt.questions] == [
        (1, "A cup?", (), "entity - whole", YES_NO),
        (2, "Red?", (1,), "attribute - color", YES_NO),
    ]


def test_git_blob_hash():
    # echo hello | git hash-object --stdin
    assert git_blob_hash(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_the_published_file_is_known_by_its_hash_and_taken_as_it_is(write, monkeypatch):
    from evaluation.suites import dsg1k

    text = HEADER + ROWS + 'a,"A cup, red",3,"3, 1, near",relation - spatial (cup),Near?\n'
    path = write("dsg1k.csv", text)
    with pytest.raises(EvaluationError, match="question 3 of a depend on itself"):
        load_suite("dsg1k", path)
    monkeypatch.setattr(dsg1k, "PUBLISHED", git_blob_hash(text.encode()))
    suite = load_suite("dsg1k", path)
    assert suite.prompts[0].questions[2].parents == (1,)
    assert len(suite.remarks) == 1 and suite.remarks[0].startswith("2 dependencies")
    path.write_bytes(text.replace("\n", "\r\n").encode())  # as git checks it out on Windows
    assert load_suite("dsg1k", path.parent).remarks == suite.remarks


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks the columns item_id"),
        ("item_id,text\na,b\n", "lacks the columns proposition_id, dependency, tuple, question_natural_language"),
        (HEADER, "hold no prompt"),
        (HEADER + "a,A cup,one,0,e - w (c),A cup?\n", "line 2 of .* has the proposition_id 'one'"),
        (HEADER + "a,A cup,1,0,e - w (c)\n", "line 2 of .* more or fewer fields"),
        (HEADER + "a,A cup, red,1,0,e - w (c),A cup?\n", "line 2 of .* more or fewer fields"),
        (HEADER + ROWS + 'a,"A cup, red",2,0,e - w (c),Again?\n', "line 4 of .* second question 2 of a"),
        (HEADER + ROWS + "a,Another text,3,0,e - w (c),Again?\n", "line 4 of .* gives a another text"),
        (HEADER + ROWS.replace("2,1,", "2,9,"), "question 2 of a depend on 9, which is not there"),
        (HEADER + ROWS.replace("2,1,", "2,2,"), "question 2 of a depend on itself"),
        (HEADER + ROWS.replace("2,1,", "2,cup,"), "question 2 of a depend on cup, which is not there"),
        (HEADER + ROWS + "A,Other,1,0,e - w (c),Other?\n", "two prompts have the id A"),
        (HEADER + "../a,A cup,1,0,e - w (c),A cup?\n", "can't be the name of a folder"),
        (HEADER + 'a,"A cup" red,1,0,e - w (c),A cup?\n', "is no CSV"),
    ],
)
@pytest.mark.parametrize("name", ["dpg_bench", "custom"])
def test_a_wrong_csv_is_one_sentence(write, name, text, words):
    with pytest.raises(EvaluationError, match=words):
        load_suite(name, write("questions.csv", text))


def test_files_that_are_not_there_or_no_text(tmp_path):
    for name in NAMES:
        with pytest.raises(EvaluationError, match=r"gone.csv is not there\. .* --data|gone.csv is not there\. .* own"):
            load_suite(name, tmp_path / "gone.csv")
    with pytest.raises(EvaluationError, match="holds no dpg_bench.csv"):
        load_suite("dpg_bench", tmp_path)
    (tmp_path / "dpg_bench.csv").write_bytes(b"item_id\xff")
    with pytest.raises(EvaluationError, match="not UTF-8"):
        load_suite("dpg_bench", tmp_path)
    with pytest.raises(EvaluationError, match="there is no suite dpg; there are dpg_bench"):
        load_suite("dpg", tmp_path)


def test_custom_prompts(write, tmp_path):
    lines = load_suite("custom", write("prompts.txt", "A cup\n\n  Two dogs \n"))
    assert [(p.id, p.text) for p in lines.prompts] == [("0001", "A cup"), ("0003", "Two dogs")]
    (question,) = lines.prompts[0].questions
    assert question.text == 'Does this picture show "A cup"?' and question.kind == YES_NO
    object_ = load_suite("custom", write("prompts.json", '{"12.txt": "A cup", "b": "Two dogs "}'))
    assert [(p.id, p.text) for p in object_.prompts] == [("12", "A cup"), ("b", "Two dogs")]
    write("prompts.txt", "A\ncup")
    write("two.txt", "Two dogs")
    folder = load_suite("custom", tmp_path)
    assert [(p.id, p.text) for p in folder.prompts] == [("prompts", "A cup"), ("two", "Two dogs")]
    assert load_suite("custom", write("q.csv", HEADER + ROWS)).prompts[0].questions[1].parents == (1,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": "x", "a": "y"}', "two prompts have the id a"),
        ('["x"]', "no JSON object of ids"),
        ('{"a": 1}', "no JSON object of ids"),
        ('{"a": ', "is no JSON"),
        ('{"a": " "}', "the prompt a is empty"),
    ],
)
def test_wrong_json_of_prompts(write, text, words):
    with pytest.raises(EvaluationError, match=words):
        load_suite("custom", write("prompts.json", text))


def test_a_limit_is_told(write):
    suite = load_suite("custom", write("prompts.txt", "one\ntwo\nthree"), limit=2)
    assert len(suite.prompts) == 2 and suite.remarks == ("only the first 2 of 3 prompts",)


GENEVAL = [
    {
        "tag": "counting",
        "include": [{"class": "cup", "count": 2}],
        "exclude": [{"class": "cup", "count": 3}],
        "prompt": "two cups",
    },
    {"tag": "colors", "include": [{"class": "dog", "count": 1, "color": "red"}], "prompt": "a red dog"},
]


def test_geneval(write):
    path = write("evaluation_metadata.jsonl", "".join(json.dumps(line) + "\n" for line in GENEVAL))
    suite = load_suite("geneval", path.parent)
    assert [(p.id, p.text, p.category) for p in suite.prompts] == [
        ("00000", "two cups", "counting"),
        ("00001", "a red dog", "colors"),
    ]
    (question,) = suite.prompts[0].questions
    assert question.kind == OBJECTS and question.details["exclude"] == [{"class": "cup", "count": 3}]
    assert [p.id for p in load_suite("geneval", path, ["colors"]).prompts] == ["00001"]
    with pytest.raises(EvaluationError, match="no task colour"):
        load_suite("geneval", path, ["colour"])
    with pytest.raises(EvaluationError, match="line 1 of .* no JSON object with tag"):
        load_suite("geneval", write("bad.jsonl", '{"prompt": "x"}\n'))


def test_geneval2(write):
    record = {
        "prompt": "two red cups",
        "atom_count": 3,
        "vqa_list": [["How many cups are in the image?", "two"], ["Are the cups red?", "Yes"]],
        "skills": ["count", "attribute"],
    }
    (prompt,) = load_suite("geneval2", write("geneval2_data.jsonl", json.dumps(record))).prompts
    assert prompt.category == "atomicity 3"
    assert [(q.kind, q.expected, q.category) for q in prompt.questions] == [
        (NUMBER, "two", "count"),
        (YES_NO, "yes", "attribute"),
    ]
    with pytest.raises(EvaluationError, match="2 questions and 1 skills"):
        load_suite("geneval2", write("bad.jsonl", json.dumps(record | {"skills": ["count"]})))


def test_t2i_compbench(write, tmp_path):
    write("color_val.txt", "a pink cup on the left of a grey plate\n")
    write("spatial_val.txt", "a man on the left of a horse\n")
    write("non_spatial_val.txt", "Two friends are sharing a meal.\n")
    write(
        "complex_val.txt",
        "The round lamp is on top of the old desk.\nThe tall woman sings.\nThe wet dog near the red car barks.\n",
    )
    write("complex_val_spatial.txt", "The round lamp is on top of the old desk.\n")
    write("complex_val_action.txt", "The tall woman sings.\n")
    suite = load_suite("t2i_compbench", tmp_path)
    assert [p.id for p in suite.prompts] == [
        "color_0001",
        "spatial_0001",
        "non_spatial_0001",
        "complex_0001",
        "complex_0002",
        "complex_0003",
    ]
    asked = {p.id: [(q.text, q.kind) for q in p.questions] for p in suite.prompts}
    assert asked["color_0001"] == [("a pink cup?", YES_NO), ("a grey plate?", YES_NO)]  # but not "the left?"
    assert asked["non_spatial_0001"] == [("Two friends are sharing a meal.", MATCH)]
    spatial = suite.prompts[1].questions[0]
    assert spatial.kind == SPATIAL
    assert spatial.details == {"objects": ["person", "horse"], "relation": "on the left of"}
    on_top = suite.prompts[3].questions[-1]
    assert on_top.details == {"objects": ["lamp", "desk"], "relation": "on top of"}
    assert [kind for _, kind in asked["complex_0002"]] == [YES_NO, MATCH]
    assert asked["complex_0002"][-1][0] == "The woman sings ."
    assert [kind for _, kind in asked["complex_0003"]] == [YES_NO, YES_NO, SPATIAL, MATCH]
    assert [p.category for p in load_suite("t2i_compbench", tmp_path, ["complex", "color"]).prompts] == (
        ["color"] + ["complex"] * 3
    )
    (tmp_path / "complex_val_action.txt").unlink()
    with pytest.raises(EvaluationError, match="lacks complex_val_spatial.txt and complex_val_action.txt"):
        load_suite("t2i_compbench", tmp_path)
    with pytest.raises(EvaluationError, match="holds no shape_val.txt"):
        load_suite("t2i_compbench", tmp_path, ["shape"])


def test_every_suite_tells_where_its_data_come_from(write):
    import importlib

    for name in NAMES:
        source = importlib.import_module(f"evaluation.suites.{name}").SOURCE
        assert source.endswith(".") and len(source) > 60
