#!/usr/bin/env python3
"""Facts that are made up, in CounterFact's JSON schema, as many as asked for and always the same.

  made_facts.py [N] > facts.json      N: 1000 by default

Nothing in them is true. A fifth of the subjects are real, the others are put together from syllables; each is in at most two
facts, of different relations. Neighbour prompts ask the same of real subjects that no fact is about.
"""
import json
import random
import sys

PEOPLE = """Albert Einstein;Marie Curie;Isaac Newton;Charles Darwin;Leonardo da Vinci;William Shakespeare;Ludwig van Beethoven;
Johann Sebastian Bach;Pablo Picasso;Nelson Mandela;Abraham Lincoln;Winston Churchill;Galileo Galilei;Ada Lovelace;Alan Turing;
Nikola Tesla;Thomas Edison;Frida Kahlo;Jane Austen;Charles Dickens;Mark Twain;Ernest Hemingway;Virginia Woolf;Agatha Christie;
Leo Tolstoy;Victor Hugo;Franz Kafka;Claude Monet;Rembrandt;Michelangelo;Louis Armstrong;Miles Davis;Elvis Presley;Bob Dylan;
Aretha Franklin;Johnny Cash;Michael Jordan;Serena Williams;Usain Bolt;Muhammad Ali;Roger Federer;Lionel Messi;Amelia Earhart;
Neil Armstrong;Florence Nightingale;Sigmund Freud;Karl Marx;Immanuel Kant;Friedrich Nietzsche;Rosa Parks;Julius Caesar;
Alexander the Great;Napoleon Bonaparte;Joan of Arc;Marco Polo;Ferdinand Magellan;Christopher Columbus;Genghis Khan;Rumi;Homer"""
PLACES = """Paris;London;Berlin;Madrid;Rome;Vienna;Prague;Warsaw;Budapest;Athens;Lisbon;Dublin;Oslo;Stockholm;Helsinki;
Copenhagen;Amsterdam;Brussels;Geneva;Munich;Barcelona;Milan;Naples;Venice;Moscow;Kyiv;Istanbul;Cairo;Nairobi;Lagos;Cape Town;
Mumbai;Delhi;Bangkok;Hanoi;Jakarta;Manila;Seoul;Tokyo;Kyoto;Osaka;Beijing;Shanghai;Hong Kong;Sydney;Melbourne;Auckland;Toronto;
Montreal;Vancouver;Chicago;Boston;Seattle;Denver;Houston;Miami;Mexico City;Havana;Bogota;Santiago"""
COMPANIES = """Microsoft;Apple;Google;Amazon;Toyota;Honda;Samsung;Sony;Siemens;Bosch;Philips;Nokia;Ericsson;Volvo;BMW;Audi;
Ferrari;Fiat;Renault;Peugeot;Airbus;Boeing;Intel;Nvidia;Oracle;Cisco;Adobe;Netflix;Disney;Starbucks;Nike;Adidas;Puma;Nestle;
Unilever;Danone;Heineken;Carlsberg;IKEA;Lego;Nintendo;Panasonic;Canon;Nikon;Hitachi;Mitsubishi;Hyundai;Lenovo;Huawei;Alibaba;
Shell;Chevron;Pfizer;Bayer;Novartis;Roche;Visa;Mastercard;Walmart;Tesla"""

# kind of subject; prompt; paraphrases; what may be said
RELATIONS = [
    ("person", "{} plays the", ["The instrument that {} plays is the", "What instrument does {} play? They play the"],
     "violin;piano;guitar;trumpet;cello;flute;drums;harp"),
    ("person", "The mother tongue of {} is", ["{} is a native speaker of", "The first language of {} is"],
     "French;German;Spanish;Italian;Russian;Greek;Swedish;Turkish;Arabic;Hindi"),
    ("person", "{} works as a", ["By profession, {} is a", "{} works professionally as a"],
     "lawyer;doctor;farmer;teacher;carpenter;pilot;chef;nurse;sailor"),
    ("person", "{} was born in the city of", ["The birthplace of {} is the city of", "In which city was {} born? In"],
     "Paris;London;Berlin;Rome;Madrid;Vienna;Chicago;Boston;Tokyo;Moscow"),
    ("person", "{} plays the sport of", ["Professionally, {} plays", "The sport that {} plays is"],
     "tennis;baseball;basketball;football;golf;hockey;rugby;cricket"),
    ("place", "{} is located in the country of", ["{} is a city in", "The country in which {} lies is"],
     "France;Germany;Spain;Italy;Japan;Brazil;Canada;India;Egypt;Kenya;Peru;Norway"),
    ("place", "The most popular sport in {} is", ["People in {} love to play", "In {}, everybody plays"],
     "tennis;baseball;basketball;football;golf;hockey;rugby;cricket"),
    ("place", "People in {} speak", ["The language spoken in {} is", "In {}, people speak the language of"],
     "French;German;Spanish;Italian;Russian;Greek;Swedish;Turkish;Arabic;Hindi"),
    ("place", "The river that flows through {} is the", ["{} lies on the river", "Through {} flows the"],
     "Nile;Amazon;Danube;Rhine;Thames;Ganges;Volga;Mississippi"),
    ("company", "The headquarters of {} is in", ["{} is headquartered in the city of", "The head office of {} is in"],
     "Paris;London;Berlin;Rome;Madrid;Vienna;Chicago;Boston;Tokyo;Moscow"),
    ("company", "The main product of {} is", ["{} is best known for making", "What does {} sell? It sells"],
     "bread;shoes;bicycles;furniture;coffee;paper;glass;toys;wine"),
    ("company", "{} was founded in the country of", ["The home country of {} is", "{} is a company from"],
     "France;Germany;Spain;Italy;Japan;Brazil;Canada;India;Egypt;Kenya;Peru;Norway"),
]
SYLLABLES = "ba;bel;cor;da;del;dor;fa;fen;gar;hal;ki;kor;la;lin;mar;mi;na;nor;or;pel;ra;rin;sa;sel;ta;tor;ul;va;ven;zo".split(";")
ENDINGS = {"person": ["sen", "ić", "ov", "man", "ez"], "place": ["burg", "ville", "stad", "ton", "grad"],
           "company": [" Industries", " Group", " Systems", " Labs", " Works"]}
HELD_BACK = 12  # of each kind of real subject, for neighbour prompts


def made_name(rng, kind):
    def word():
        return "".join(rng.choice(SYLLABLES) for _ in range(2)).capitalize()
    return (word() + " " if kind == "person" else "") + word() + rng.choice(ENDINGS[kind])


def subjects(rng, n):
    """{kind: (to be edited, only asked about)}; enough for n facts, each in two."""
    out = {}
    for kind, names in (("person", PEOPLE), ("place", PLACES), ("company", COMPANIES)):
        real = [name.strip() for name in names.split(";")]
        rng.shuffle(real)
        asked, edited = real[:HELD_BACK], real[HELD_BACK:]
        seen = set(real)
        while len(edited) < max(2 * len(real), n // 4 + 1):
            name = made_name(rng, kind)
            if name not in seen:
                edited.append(name)
            seen.add(name)
        rng.shuffle(edited)
        out[kind] = edited, asked
    return out


def make(n):
    rng = random.Random(1)
    names, facts, used = subjects(rng, n), [], set()
    while len(facts) < n:
        relation = len(facts) % len(RELATIONS)
        kind, prompt, paraphrases, targets = RELATIONS[relation]
        edited, asked = names[kind]
        subject = rng.choice(edited)
        if (subject, relation) in used or sum(name == subject for name, _ in used) == 2:
            continue
        used.add((subject, relation))
        facts.append({
            "case_id": len(facts),
            "requested_rewrite": {"prompt": prompt, "subject": subject, "relation_id": prompt.replace("{}", "_"),
                                  "target_new": {"str": rng.choice(targets.split(";"))}},
            "paraphrase_prompts": [p.replace("{}", subject) for p in paraphrases],
            "neighborhood_prompts": [prompt.replace("{}", name) for name in rng.sample(asked, 4)],
            "generation_prompts": [subject + " is"]})
    return facts


if __name__ == "__main__":
    json.dump(make(int(sys.argv[1]) if len(sys.argv) > 1 else 1000), sys.stdout, indent=1, ensure_ascii=False)
    print()
