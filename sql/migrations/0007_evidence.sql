-- How good the scores of a model are, measured on leads it had not seen: one row per measure and subject, written when
-- the model is trained. Every measure is described in docs/guides/scores.md.

CREATE TABLE scoring.evidence (
    model_key      text NOT NULL,
    model_version  text NOT NULL,
    as_of_date     date NOT NULL,
    measure        text NOT NULL,
    subject        text NOT NULL,
    place          smallint NOT NULL,
    value          double precision NOT NULL,
    low            double precision,
    high           double precision,
    n_rows         double precision NOT NULL,
    n_won          double precision NOT NULL,
    verdict        text,
    protocol       text NOT NULL,
    PRIMARY KEY (model_key, model_version, measure, subject)
);

ALTER TABLE scoring.evidence OWNER TO score_writer;
