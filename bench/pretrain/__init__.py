"""Contrastive pre-training: from images and object mask proposals to a network (docs/pre-training.md#the-method).

`pairs` and `views` make batches of two views, `momentum` and `losses` are the method, `trainer` runs it, `checkpoint`
and `log` keep the results. The recipe is `bench.cards.recipes.Recipe`.
"""
